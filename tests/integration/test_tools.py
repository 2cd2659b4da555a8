"""Other clients: amqp-tools (rabbitmq-c), aio-pika, and the demonstration."""
import asyncio
import os
import re
import shutil
import subprocess
import sys
import unittest

import aio_pika

from cluster import BUILD, TOP, Cluster, ClusterTest, wait_for


class AmqpToolsTest(ClusterTest):
    """The command-line programs of Debian's amqp-tools."""

    def tool(self, name, n, *words, **options):
        return subprocess.run(
            [name, "--url", f"amqp://guest:guest@127.0.0.1:"
             f"{self.cluster.port(n)}/%2f", *words],
            capture_output=True, timeout=30, check=False, **options)

    def test_declare_publish_get_delete(self):
        for n in (1, 2, 3):
            other = n % 3 + 1
            out = self.tool("amqp-declare-queue", n, "-q", "tools", "-d")
            self.assertEqual((0, b"tools"), (out.returncode,
                                             out.stdout.strip()))
            out = self.tool("amqp-publish", other, "-r", "tools", "-p", "-C",
                            "text/plain", "-b", "hello")
            self.assertEqual(0, out.returncode, out.stderr)
            out = wait_for(lambda: (o := self.tool("amqp-get", n, "-q",
                                                   "tools")).stdout and o,
                           "the message")
            self.assertEqual((0, b"hello"), (out.returncode, out.stdout))
            out = self.tool("amqp-get", n, "-q", "tools")
            self.assertEqual((2, b""), (out.returncode, out.stdout))
            out = self.tool("amqp-delete-queue", other, "-q", "tools")
            self.assertEqual((0, b"0"), (out.returncode, out.stdout.strip()))

    def test_consume(self):
        self.tool("amqp-declare-queue", 1, "-q", "consumed", "-d")
        for i in range(5):
            self.tool("amqp-publish", 2, "-r", "consumed", "-b", f"m{i} ")
        out = self.tool("amqp-consume", 3, "-q", "consumed", "-c", "5", "-p",
                        "2", "cat")
        self.assertEqual((0, b"m0 m1 m2 m3 m4 "), (out.returncode, out.stdout))
        wait_for(lambda: self.cluster.queue("consumed", "messages")
                 ["messages"] == 0, "all is acknowledged")

    def test_errors_are_told(self):
        out = self.tool("amqp-get", 1, "-q", "absent")
        self.assertEqual(1, out.returncode)
        self.assertIn(b"404", out.stderr)
        self.assertIn(b"no queue 'absent' in vhost '/'", out.stderr)

    def test_publish_of_lines(self):
        self.tool("amqp-declare-queue", 1, "-q", "lines", "-d")
        out = self.tool("amqp-publish", 1, "-r", "lines", "-l",
                        input=b"a\nb\nc\n")
        self.assertEqual(0, out.returncode, out.stderr)
        wait_for(lambda: self.cluster.queue("lines", "messages")["messages"]
                 == 3, "three lines")


class AioPikaTest(ClusterTest):
    """aio-pika's robust connection over the death of a node."""

    def test_publish_and_consume(self):
        async def work():
            connection = await aio_pika.connect_robust(
                port=self.cluster.port(2))
            async with connection:
                channel = await connection.channel(publisher_confirms=True)
                exchange = await channel.declare_exchange(
                    "aio", aio_pika.ExchangeType.TOPIC, durable=True)
                queue = await channel.declare_queue("aio", durable=True)
                await queue.bind(exchange, "a.#")
                for i in range(100):
                    await exchange.publish(aio_pika.Message(
                        b"%d" % i, headers={"i": i},
                        delivery_mode=aio_pika.DeliveryMode.PERSISTENT), "a.b")
                got = []
                async with queue.iterator() as messages:
                    async for message in messages:
                        async with message.process():
                            got.append((message.body, message.headers["i"]))
                        if len(got) == 100:
                            break
                return got
        got = asyncio.run(asyncio.wait_for(work(), 30))
        self.assertEqual([(b"%d" % i, i) for i in range(100)], got)

    def test_robust_connection_comes_back(self):
        async def work():
            loop = asyncio.get_running_loop()
            connection = await aio_pika.connect_robust(
                port=self.cluster.port(3), reconnect_interval=0.2)
            async with connection:
                channel = await connection.channel()
                await channel.set_qos(10)
                queue = await channel.declare_queue("robust", durable=True)
                got = asyncio.Queue()

                async def on_message(message):
                    async with message.process():
                        await got.put(message.body)
                await queue.consume(on_message)

                async def publish(body):
                    while True:
                        try:
                            await asyncio.wait_for(
                                channel.default_exchange.publish(
                                    aio_pika.Message(body), "robust"), 5)
                            return
                        except Exception:
                            await asyncio.sleep(0.1)
                await publish(b"before")
                self.assertEqual(b"before",
                                 await asyncio.wait_for(got.get(), 10))
                await loop.run_in_executor(None, self.cluster.kill, 3)
                await loop.run_in_executor(None, self.cluster.start, 3)
                await publish(b"after")
                while await asyncio.wait_for(got.get(), 20) != b"after":
                    pass
        asyncio.run(asyncio.wait_for(work(), 60))


class DemoTest(unittest.TestCase):
    """deploy/cluster.sh and deploy/demo.py, on ports and data of their own."""

    def setUp(self):
        self.cluster = Cluster()  # for its ports and its directory
        self.addCleanup(self.cluster.close)
        conf = self.cluster.path("conf")
        os.mkdir(conf)
        for n in (1, 2, 3):
            path = os.path.join(TOP, f"deploy/three-node/n{n}.conf")
            with open(path) as f:
                text = f.read()
            for i in (1, 2, 3):
                text = text.replace(f":{5671 + i}\n",
                                    f":{self.cluster.port(i)}\n")
                text = text.replace(f":{25671 + i}\n",
                                    f":{self.cluster.peer_port(i)}\n")
            with open(os.path.join(conf, f"n{n}.conf"), "w") as f:
                f.write(text)
        self.env = dict(
            os.environ, QUORATE_BIN=os.path.join(BUILD, "src"),
            QUORATE_CONF=conf,
            QUORATE_DATA=self.cluster.path("quorate-data"),
            QUORATE_PORTS=",".join(str(self.cluster.port(n))
                                   for n in (1, 2, 3)))
        self.addCleanup(self.sh, "down")

    def sh(self, *words):
        # Nodes inherit the output: not a pipe, which would wait for them.
        log = self.cluster.path("cluster.sh.log")
        with open(log, "a") as out:
            code = subprocess.run(
                [os.path.join(TOP, "deploy/cluster.sh"), *words], env=self.env,
                stdout=out, stderr=out, stdin=subprocess.DEVNULL, timeout=60,
                check=False).returncode
        with open(log) as f:
            return code, f.read()

    def demo(self):
        out = subprocess.run(
            ["/usr/bin/python3", os.path.join(TOP, "deploy/demo.py")],
            env=self.env, capture_output=True, text=True, timeout=150,
            check=False)
        print("    " + out.stdout.replace("\n", "\n    "), file=sys.stderr)
        self.assertEqual(0, out.returncode, out.stdout + out.stderr)
        self.assertIn("10000 messages confirmed", out.stdout)
        self.assertIn("10000 of them delivered", out.stdout)
        before, after = re.search(r"led by (n\d) before and by (n\d) after",
                                  out.stdout).groups()
        self.assertNotEqual(before, after)

    def test_twice(self):
        code, text = self.sh("up")
        self.assertEqual(0, code, text)
        self.demo()
        self.demo()
        code, text = self.sh("status")
        self.assertEqual(0, code, text)
        for n in (1, 2, 3):
            self.assertIn(f"n{n} runs, pid ", text)

    def test_cluster_sh(self):
        for words in (("up",), ("kill", "2"), ("status",), ("start", "2"),
                      ("stop", "3"), ("start", "3"), ("up",), ("pids",),
                      ("down",), ("up",), ("down",), ("wipe",)):
            code, text = self.sh(*words)
            self.assertEqual(0, code, (words, text))
        for words in (("kill", "9"), ("kill",), ("kill", "1"), ("frob",)):
            self.assertNotEqual(0, self.sh(*words)[0], words)
        self.assertEqual(["secret"], [
            name for name in os.listdir(self.env["QUORATE_DATA"])])
        shutil.rmtree(self.env["QUORATE_DATA"])
