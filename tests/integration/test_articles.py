"""What the articles that people learn RabbitMQ from do, row by row (the ids
are of the project's checklist): the same calls in the same order, through
every node. Where an article's program is wrong on RabbitMQ, it is wrong here in
the same way."""
import socket
import threading
import time
import uuid

import pika

from cluster import ClusterTest, wait_for

SHUTDOWN = ("CONNECTION_FORCED - broker forced connection closure with reason "
            "'shutdown'")
PAIRS = [(p, c) for p in (1, 2, 3) for c in (1, 2, 3)]


class Subscriber(threading.Thread):
    """Runs an article's consumer until told to stop. SETUP(channel, callback)
    makes the article's calls up to basic_consume."""

    def __init__(self, connection, setup):
        super().__init__(daemon=True)
        self.connection = connection
        self.channel = connection.channel()
        self.received = []
        self.queue = setup(self.channel, self.callback)
        self.start()

    def callback(self, channel, method, properties, body):
        self.received.append((method.routing_key, body))

    def run(self):
        self.channel.start_consuming()

    def stop(self):
        self.connection.add_callback_threadsafe(self.channel.stop_consuming)
        self.join(10)
        self.connection.close()

    def await_count(self, count):
        wait_for(lambda: len(self.received) >= count,
                 f"{count} messages, have {self.received}", 10)


class ArticlesTest(ClusterTest):
    """Articles 000 (its user and clients) and 002 (chapters 3 to 11)."""

    USER = "admin"
    PASSWORD = "123456"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        # Rows G0.17 and G2.13: the three commands, on one node.
        for words in (("add_user", cls.USER, cls.PASSWORD),
                      ("set_user_tags", cls.USER, "administrator"),
                      ("set_permissions", "-p", "/", cls.USER, ".*", ".*",
                       ".*")):
            out = cls.cluster.run_ctl(1, *words)
            if out.returncode != 0:
                raise AssertionError(out.stderr)

    def open(self, n):
        """Credentials, connection and channel as every program begins."""
        credentials = pika.PlainCredentials(self.USER, self.PASSWORD)
        connection = pika.BlockingConnection(pika.ConnectionParameters(
            "127.0.0.1", self.cluster.port(n), credentials=credentials))
        self.addCleanup(lambda: connection.is_open and connection.close())
        return connection

    def subscribe(self, n, setup):
        subscriber = Subscriber(self.open(n), setup)
        self.addCleanup(lambda: subscriber.is_alive() and subscriber.stop())
        return subscriber

    def publish(self, n, queue, body, properties=None, **declare):
        """Chapters 3 to 6, publisher: declare, publish, close."""
        connection = self.open(n)
        channel = connection.channel()
        channel.queue_declare(queue=queue, **declare)
        channel.basic_publish(exchange="", routing_key=queue, body=body,
                              properties=properties)
        connection.close()

    def test_login_without_credentials_is_guest(self):  # G2.14
        connection = pika.BlockingConnection(
            pika.ConnectionParameters("127.0.0.1", self.cluster.port(2)))
        connection.close()

    def test_hello_world_from_every_node_to_every_node(self):  # G2.15 - G2.17
        def setup(channel, callback):
            channel.queue_declare(queue="lqz")
            channel.basic_consume(queue="lqz", on_message_callback=callback,
                                  auto_ack=True)
        for p, c in PAIRS:
            with self.subTest(publisher=p, consumer=c):
                body = b"hello world %d%d" % (p, c)
                self.publish(p, "lqz", body)
                subscriber = self.subscribe(c, setup)
                subscriber.await_count(1)
                subscriber.stop()
                self.assertEqual([("lqz", body)], subscriber.received)

    def test_without_an_ack_the_message_stays(self):  # G2.18
        def setup(channel, callback):
            channel.queue_declare(queue="lqz-ack")
            channel.basic_consume(queue="lqz-ack",
                                  on_message_callback=callback, auto_ack=False)
        self.publish(1, "lqz-ack", "hello world")
        for n in (2, 3, 1):
            subscriber = self.subscribe(n, setup)
            subscriber.await_count(1)
            subscriber.stop()
            self.assertEqual([("lqz-ack", b"hello world")],
                             subscriber.received)
        method, _, _ = self.get(self.channel(3), "lqz-ack")
        self.assertTrue(method.redelivered)

    def test_durable_queue_redeclared_without_durable_is_406(self):  # G2.19-20
        for n in (1, 2, 3):
            self.publish(n, "lqz1", "111", durable=True,
                         properties=pika.BasicProperties(delivery_mode=2))
        for n in (1, 2, 3):
            channel = self.open(n).channel()
            self.assertChannelClosed(
                406, "PRECONDITION_FAILED - inequivalent arg 'durable' for "
                "queue 'lqz1' in vhost '/': received 'false' but current is "
                "'true'", channel.queue_declare, queue="lqz1")
        self.assertEqual([b"111"] * 3, self.bodies(self.channel(), "lqz1"))

    def test_prefetch_of_one_gives_work_to_the_idle(self):  # G2.21 - G2.22
        seen = {"slow": [], "fast": []}
        for i in range(20):
            self.publish(1 + i % 3, "lqz123", "%d" % i, durable=True,
                         properties=pika.BasicProperties(delivery_mode=2))

        def slow(channel, callback):
            def work(ch, method, properties, body):
                seen["slow"].append(body)
                ch.connection.sleep(0.5)
                ch.basic_ack(delivery_tag=method.delivery_tag)
            channel.basic_qos(prefetch_count=1)
            channel.basic_consume(queue="lqz123", on_message_callback=work,
                                  auto_ack=False)

        def fast(channel, callback):
            def work(ch, method, properties, body):
                seen["fast"].append(body)
                ch.basic_ack(delivery_tag=method.delivery_tag)
            channel.basic_qos(prefetch_count=1)
            channel.basic_consume(queue="lqz123", on_message_callback=work,
                                  auto_ack=False)
        first = self.subscribe(2, slow)
        wait_for(lambda: seen["slow"], "the slow one has work")
        second = self.subscribe(3, fast)
        wait_for(lambda: len(seen["slow"]) + len(seen["fast"]) == 20,
                 "all is consumed", 10)
        first.stop()
        second.stop()
        self.assertGreaterEqual(len(seen["fast"]), 15, seen)

    def test_two_consumers_take_turns(self):  # G2.21
        name = "turns"
        self.channel(1).queue_declare(name)

        def setup(channel, callback):
            channel.basic_consume(queue=name, on_message_callback=callback,
                                  auto_ack=True)
        both = [self.subscribe(1, setup), self.subscribe(2, setup)]
        wait_for(lambda: self.cluster.queue(name, "consumers")["consumers"]
                 == 2, "both consume")
        channel = self.channel(3)
        # Not more than a consumer without acks may have on its way at first.
        for i in range(60):
            channel.basic_publish("", name, b"%d" % i)
        wait_for(lambda: sum(len(s.received) for s in both) == 60, "all")
        for subscriber in both:
            self.assertEqual(30, len(subscriber.received))

    @staticmethod
    def server_named(exchange, kind, *keys):
        """Chapters 7 to 9, subscriber."""
        def setup(channel, callback):
            channel.exchange_declare(exchange=exchange, exchange_type=kind)
            result = channel.queue_declare(queue="", exclusive=True)
            queue = result.method.queue
            for key in keys:
                channel.queue_bind(exchange=exchange, queue=queue,
                                   routing_key=key)
            channel.basic_consume(queue=queue, on_message_callback=callback,
                                  auto_ack=True)
            return queue
        return setup

    def send(self, n, exchange, kind, key, body="lqz nb"):
        """Chapters 7 to 9, publisher."""
        connection = self.open(n)
        channel = connection.channel()
        channel.exchange_declare(exchange=exchange, exchange_type=kind)
        channel.basic_publish(exchange=exchange, routing_key=key, body=body)
        connection.close()

    def test_fanout_reaches_every_subscriber_on_every_node(self):  # G2.23-24
        setup = self.server_named("m1", "fanout", None)
        subscribers = [self.subscribe(n, setup) for n in (1, 2, 3, 1)]
        for s in subscribers:
            self.assertRegex(s.queue, r"^amq\.gen-[A-Za-z0-9_-]{22}$")
        self.assertEqual(4, len({s.queue for s in subscribers}))
        for n in (1, 2, 3):
            self.send(n, "m1", "fanout", "", f"lqz nb {n}")
        for s in subscribers:
            s.await_count(3)
            self.assertEqual([("", b"lqz nb 1"), ("", b"lqz nb 2"),
                              ("", b"lqz nb 3")], sorted(s.received))
            s.stop()
        names = {s.queue for s in subscribers}
        wait_for(lambda: not names & {
            row["name"] for row in self.cluster.ctl(2, "list_queues", "name")},
            "exclusive queues go with their connections")

    def test_direct_by_key(self):  # G2.25
        one = self.subscribe(1, self.server_named("m2", "direct", "nb", "bnb"))
        two = self.subscribe(2, self.server_named("m2", "direct", "nb"))
        self.send(3, "m2", "direct", "bnb")
        one.await_count(1)
        self.send(1, "m2", "direct", "nb")
        one.await_count(2)
        two.await_count(1)
        one.stop()
        two.stop()
        self.assertEqual([("bnb", b"lqz nb"), ("nb", b"lqz nb")], one.received)
        self.assertEqual([("nb", b"lqz nb")], two.received)

    def test_topic_by_pattern(self):  # G2.26
        one = self.subscribe(1, self.server_named("m3", "topic", "lqz.#"))
        two = self.subscribe(2, self.server_named("m3", "topic", "lqz.*"))
        self.send(3, "m3", "topic", "lqz.handsome.xx")
        one.await_count(1)
        self.send(2, "m3", "topic", "lqz.handsome")
        one.await_count(2)
        two.await_count(1)
        self.send(1, "m3", "topic", "lqz")
        one.await_count(3)
        one.stop()
        two.stop()
        self.assertEqual(["lqz.handsome.xx", "lqz.handsome", "lqz"],
                         [key for key, _ in one.received])
        self.assertEqual(["lqz.handsome"], [key for key, _ in two.received])

    def test_rpc_through_every_node(self):  # G2.27
        def server(channel, callback):
            channel.queue_declare(queue="rpc_queue")

            def on_request(ch, method, props, body):
                ch.basic_publish(
                    exchange="", routing_key=props.reply_to,
                    properties=pika.BasicProperties(
                        correlation_id=props.correlation_id),
                    body=str(int(body) + 100))
                ch.basic_ack(delivery_tag=method.delivery_tag)
            channel.basic_qos(prefetch_count=1)
            channel.basic_consume(queue="rpc_queue",
                                  on_message_callback=on_request)
        for s in (1, 2, 3):
            serving = self.subscribe(s, server)
            for c in (1, 2, 3):
                client = RpcClient(self.open(c))
                for n in (50, 51):
                    self.assertEqual(str(n + 100).encode(), client.call(n))
                client.connection.close()
            serving.stop()

    def test_a_user_of_one_node_is_known_to_all(self):  # G0.17
        out = self.cluster.run_ctl(1, "add_user", "late", "pw")
        self.assertEqual(0, out.returncode, out.stderr)
        self.assertEqual(0, self.cluster.run_ctl(
            1, "set_permissions", "late", ".*", ".*", ".*").returncode)
        for n in (3, 2, 1):
            self.connect(n, user="late", password="pw").close()

    def test_what_one_node_declares_every_node_has(self):  # G2.24, G2.36
        for n in (1, 2, 3):
            channel = self.channel(n)
            channel.exchange_declare(f"ex{n}", "topic")
            channel.queue_declare(f"q{n}", durable=True)
            channel.queue_bind(f"q{n}", f"ex{n}", "k.*")
            for other in (1, 2, 3):
                there = self.channel(other)
                there.exchange_declare(f"ex{n}", passive=True)
                there.queue_declare(f"q{n}", passive=True)
                there.basic_publish(f"ex{n}", "k.1", b"x")
            self.assertEqual([b"x"] * 3, wait_for(
                lambda: self.bodies(channel, f"q{n}"), "routed by all"))

    def test_message_count_is_seen_from_every_node(self):  # G2.37
        channel = self.channel(1)
        channel.confirm_delivery()
        channel.queue_declare("counted", durable=True)
        for i in range(7):
            channel.basic_publish("", "counted", b"%d" % i)
        for n in (1, 2, 3):
            self.assertEqual(7, self.channel(n).queue_declare(
                "counted", passive=True).method.message_count)
            self.assertEqual(7, self.cluster.queue("counted", "messages",
                                                   at=n)["messages"])

    def test_redeclaring_after_reconnecting_is_harmless(self):  # G0.15
        for n in (1, 2, 3, 1, 2):
            channel = self.channel(n)
            channel.exchange_declare("re-x", "direct", durable=True)
            channel.queue_declare("re-q", durable=True)
            channel.queue_bind("re-q", "re-x", "re")

    def test_short_lived_producers_lose_nothing(self):  # G0.22, G2.16
        self.channel(1).queue_declare("epoch", durable=True)
        want = []
        for i in range(240):
            connection = self.open(1 + i % 3)
            body = b"Cluster Test!/%d" % i
            connection.channel().basic_publish("", "epoch", body)
            connection.close()
            want.append(body)
        got = []
        channel = self.channel(2)
        wait_for(lambda: got.extend(self.bodies(channel, "epoch")) or
                 len(got) >= len(want), "all of them", 10)
        self.assertEqual(sorted(want), sorted(got))

    def test_tcp_checks_of_a_balancer_are_harmless(self):  # G0.10 - G0.11
        for _ in range(50):
            for n in (1, 2, 3):
                socket.create_connection(
                    ("127.0.0.1", self.cluster.port(n)), 5).close()
        self.connect(1).close()

    def test_many_short_lived_reply_queues(self):  # G3.09, G3.19
        names = ["network_fanout_" + uuid.uuid4().hex, "volume.server-03",
                 "scheduler", "cert", "consoleauth", "compute"]
        channel = self.channel(2)
        for name in names:
            channel.queue_declare(name, auto_delete=True)
            channel.queue_declare("reply_" + uuid.uuid4().hex,
                                  auto_delete=True, exclusive=True)
        listed = {row["name"]
                  for row in self.cluster.ctl(3, "list_queues", "name")}
        self.assertTrue(set(names) <= listed)
        self.assertChannelClosed(
            403, "ACCESS_REFUSED - queue name 'amq.gen-mine' contains reserved "
            "prefix 'amq.*'", channel.queue_declare, "amq.gen-mine")

    def test_old_columns_of_replicas(self):  # G3.07 - G3.08
        self.channel(1).queue_declare("volume", durable=True)
        leader = self.cluster.await_leader("volume")
        followers = [f"n{n}" for n in (1, 2, 3) if n != leader]

        def columns(n):
            row = self.cluster.queue("volume", "slave_pids",
                                     "synchronised_slave_pids", at=n)
            return [sorted(row["slave_pids"]),
                    sorted(row["synchronised_slave_pids"])]
        for n in (1, 2, 3):
            wait_for(lambda: columns(n) == [followers, followers],
                     f"n{n} says that {followers} are in step")


class RpcClient:
    """Chapter 10, client."""

    def __init__(self, connection):
        self.connection = connection
        self.channel = connection.channel()
        result = self.channel.queue_declare(queue="", exclusive=True)
        self.callback_queue = result.method.queue
        self.channel.basic_consume(queue=self.callback_queue,
                                   on_message_callback=self.on_response,
                                   auto_ack=True)

    def on_response(self, ch, method, props, body):
        if self.corr_id == props.correlation_id:
            self.response = body

    def call(self, n):
        self.response = None
        self.corr_id = str(uuid.uuid4())
        self.channel.basic_publish(
            exchange="", routing_key="rpc_queue",
            properties=pika.BasicProperties(reply_to=self.callback_queue,
                                            correlation_id=self.corr_id),
            body=str(n))
        end = time.monotonic() + 20
        while self.response is None and time.monotonic() < end:
            self.connection.process_data_events(0.1)
        return self.response


class ReconnectingConsumerTest(ClusterTest):
    """Article 000: a consumer that reconnects when its node is stopped."""

    def consumer(self, seen, errors, stop):
        node = 3
        while not stop.is_set():
            try:
                with self.cluster.connect(node) as connection:
                    channel = connection.channel()
                    channel.exchange_declare("cluster_test", "direct",
                                             durable=True)
                    channel.queue_declare("cluster_test", durable=True)
                    channel.queue_bind("cluster_test", "cluster_test", "t")
                    seen.append(("Ready for testing!", node))
                    for method, _, body in channel.consume(
                            "cluster_test", inactivity_timeout=0.1):
                        if method:
                            seen.append((body, node))
                            channel.basic_ack(method.delivery_tag)
                        if stop.is_set():
                            break
            except pika.exceptions.AMQPError as error:
                errors.append(error)
                node = node % 3 + 1
                time.sleep(0.05)

    def test_it_is_told_of_the_shutdown_and_goes_on_elsewhere(self):  # G0.18-22
        seen, errors, stop = [], [], threading.Event()
        thread = threading.Thread(target=self.consumer, daemon=True,
                                  args=(seen, errors, stop))
        thread.start()
        self.addCleanup(thread.join, 10)
        self.addCleanup(stop.set)
        wait_for(lambda: ("Ready for testing!", 3) in seen, "ready on n3")
        self.assertEqual(0, self.cluster.stop(3))
        wait_for(lambda: ("Ready for testing!", 1) in seen, "ready on n1")
        forced = [e for e in errors
                  if isinstance(e, pika.exceptions.ConnectionClosedByBroker)]
        self.assertEqual([(320, SHUTDOWN)], [(e.reply_code, e.reply_text)
                                             for e in forced])
        channel = self.channel(2)
        body = b"Cluster Test!/%d" % time.time()
        channel.basic_publish("cluster_test", "t", body)
        wait_for(lambda: (body, 1) in seen, "received through n1")
        self.cluster.start(3)
        nodes = self.cluster.ctl(1, "cluster_status")["nodes"]
        self.assertEqual(["running"] * 3, [row["state"] for row in nodes])
