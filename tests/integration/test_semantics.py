"""AMQP 0-9-1 as RabbitMQ's clients know it, checked with pika: errors with
RabbitMQ's codes and texts at the right scope, confirms, acknowledgements,
limits. Through any node of a cluster of three."""
import os
import socket
import threading
import time

import pika

from cluster import ClusterTest, Timeout, wait_for

LOCKED = ("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue "
          "'{}' in vhost '/'. It could be originally declared on another "
          "connection or the exclusive property value does not match that of "
          "the original declaration.")


class DeclareTest(ClusterTest):
    """Queues, exchanges and bindings: what is refused, and how it is said."""

    def assertInequivalent(self, text, call, *args, **kwargs):
        self.assertChannelClosed(
            406, f"PRECONDITION_FAILED - inequivalent arg {text}", call, *args,
            **kwargs)

    def test_queue_redeclared_otherwise(self):
        name = self.name()
        self.channel(1).queue_declare(name, durable=True)
        for key, options in (("durable", {}),
                             ("auto_delete", {"durable": True,
                                              "auto_delete": True})):
            said = ("'false' but current is 'true'" if key == "durable" else
                    "'true' but current is 'false'")
            self.assertInequivalent(
                f"'{key}' for queue '{name}' in vhost '/': received {said}",
                self.channel(2).queue_declare, name, **options)
        self.channel(3).queue_declare(name, durable=True)

    def test_queue_redeclared_with_another_type(self):
        name = self.name()
        self.channel(1).queue_declare(name, durable=True,
                                      arguments={"x-queue-type": "quorum"})
        self.channel(2).queue_declare(name, durable=True,
                                      arguments={"x-queue-type": "quorum"})

    def test_exchange_redeclared_otherwise(self):
        name = self.name()
        self.channel(1).exchange_declare(name, "direct", durable=True)
        for text, kind, options in (
                ("'type' for exchange '{}' in vhost '/': received 'fanout' but "
                 "current is 'direct'", "fanout", {"durable": True}),
                ("'durable' for exchange '{}' in vhost '/': received 'false' "
                 "but current is 'true'", "direct", {}),
                ("'auto_delete' for exchange '{}' in vhost '/': received "
                 "'true' but current is 'false'", "direct",
                 {"durable": True, "auto_delete": True}),
                ("'internal' for exchange '{}' in vhost '/': received 'true' "
                 "but current is 'false'", "direct",
                 {"durable": True, "internal": True})):
            self.assertInequivalent(text.format(name),
                                    self.channel(3).exchange_declare, name,
                                    kind, **options)

    def test_passive_and_absent(self):
        for n in (1, 2, 3):
            self.assertChannelClosed(
                404, "NOT_FOUND - no queue 'absent' in vhost '/'",
                self.channel(n).queue_declare, "absent", passive=True)
            self.assertChannelClosed(
                404, "NOT_FOUND - no exchange 'absent' in vhost '/'",
                self.channel(n).exchange_declare, "absent", passive=True)

    def test_absent_in_other_methods(self):
        queue = "NOT_FOUND - no queue 'absent' in vhost '/'"
        exchange = "NOT_FOUND - no exchange 'absent' in vhost '/'"
        self.assertChannelClosed(404, queue, self.channel().basic_get,
                                 "absent")
        self.assertChannelClosed(404, queue, self.channel().queue_purge,
                                 "absent")
        self.assertChannelClosed(404, queue, self.channel().basic_consume,
                                 "absent", lambda *_: None)
        self.assertChannelClosed(404, queue, self.channel().queue_bind,
                                 "absent", "amq.direct", "k")
        name = self.name()
        self.channel().queue_declare(name)
        self.assertChannelClosed(404, exchange, self.channel().queue_bind,
                                 name, "absent", "k")
        channel = self.channel()
        channel.confirm_delivery()
        self.assertChannelClosed(404, exchange, channel.basic_publish,
                                 "absent", "k", b"x")

    def test_deleting_what_is_not_there_succeeds(self):
        channel = self.channel()
        self.assertEqual(0, channel.queue_delete("absent")
                         .method.message_count)
        channel.exchange_delete("absent")

    def test_exclusive_is_locked_to_others(self):
        name = self.name()
        self.channel(1).queue_declare(name, exclusive=True)
        for n in (1, 2, 3):
            for call, args in (("queue_declare", ()), ("basic_get", ()),
                               ("queue_purge", ()), ("queue_delete", ()),
                               ("basic_consume", (lambda *_: None,))):
                self.assertChannelClosed(
                    405, LOCKED.format(name),
                    getattr(self.channel(n), call), name, *args)

    def test_exclusive_goes_with_its_connection(self):
        name = self.name()
        connection = self.cluster.connect(1)
        connection.channel().queue_declare(name, exclusive=True)
        connection.close()
        # At once: declared anew by another, of another kind.
        self.channel(2).queue_declare(name, durable=True)

    def test_reserved_names(self):
        self.assertChannelClosed(
            403, "ACCESS_REFUSED - queue name 'amq.mine' contains reserved "
            "prefix 'amq.*'", self.channel().queue_declare, "amq.mine")
        self.assertChannelClosed(
            403, "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved "
            "prefix 'amq.*'", self.channel().exchange_declare, "amq.mine")
        self.assertChannelClosed(
            403, "ACCESS_REFUSED - operation not permitted on the default "
            "exchange", self.channel().exchange_delete, "")

    def test_predeclared_exchanges(self):
        channel = self.channel(2)
        for name, kind in (("amq.direct", "direct"), ("amq.fanout", "fanout"),
                           ("amq.topic", "topic"), ("amq.headers", "headers"),
                           ("amq.match", "headers")):
            channel.exchange_declare(name, kind, passive=True)

    def test_unknown_exchange_type(self):
        self.assertConnectionClosed(
            503, "COMMAND_INVALID - unknown exchange type 'frob'",
            self.channel().exchange_declare, self.name(), "frob")

    def test_last_queue_is_meant_when_none_is_named(self):
        channel = self.channel()
        name = channel.queue_declare("").method.queue
        channel.queue_bind("", "amq.direct", "last")
        channel.basic_publish("amq.direct", "last", b"x")
        self.assertEqual(b"x", self.get(channel, name)[2])
        self.assertChannelClosed(
            404, "NOT_FOUND - no previously declared queue",
            self.channel().basic_get, "")

    def test_server_named_queues_differ(self):
        channel = self.channel()
        names = {channel.queue_declare("").method.queue for _ in range(20)}
        self.assertEqual(20, len(names))

    def test_auto_delete_queue_goes_with_its_last_consumer(self):
        name = self.name()
        channel = self.channel(1)
        channel.queue_declare(name, auto_delete=True)
        first = channel.basic_consume(name, lambda *_: None)
        second = self.channel(2)
        tag = second.basic_consume(name, lambda *_: None)
        channel.basic_cancel(first)
        self.channel(3).queue_declare(name, passive=True)
        second.basic_cancel(tag)
        wait_for(lambda: self.cluster.queue(name) is None, "it is gone", 5)

    def test_auto_delete_exchange_goes_with_its_last_binding(self):
        exchange, queue = self.name("-x"), self.name("-q")
        channel = self.channel(1)
        channel.exchange_declare(exchange, "fanout", auto_delete=True)
        channel.queue_declare(queue)
        channel.queue_bind(queue, exchange)
        channel.exchange_declare(exchange, passive=True)
        channel.queue_unbind(queue, exchange)
        self.assertChannelClosed(
            404, f"NOT_FOUND - no exchange '{exchange}' in vhost '/'",
            self.channel(2).exchange_declare, exchange, passive=True)

    def test_delete_if_unused_and_if_empty(self):
        name = self.name()
        channel = self.channel(1)
        channel.confirm_delivery()
        channel.queue_declare(name, durable=True)
        channel.basic_publish("", name, b"x")
        self.assertChannelClosed(
            406, f"PRECONDITION_FAILED - queue '{name}' in vhost '/' not empty",
            self.channel(2).queue_delete, name, if_empty=True)
        tag = channel.basic_consume(name, lambda *_: None)
        self.assertChannelClosed(
            406, f"PRECONDITION_FAILED - queue '{name}' in vhost '/' in use",
            self.channel(3).queue_delete, name, if_unused=True)
        channel.basic_cancel(tag)
        self.assertEqual(1, self.channel(2).queue_delete(
            name, if_unused=True).method.message_count)

    def test_exchange_delete_if_unused(self):
        exchange, queue = self.name("-x"), self.name("-q")
        channel = self.channel(1)
        channel.exchange_declare(exchange)
        channel.queue_declare(queue)
        channel.queue_bind(queue, exchange, "k")
        self.assertChannelClosed(
            406, f"PRECONDITION_FAILED - exchange '{exchange}' in vhost '/' in "
            "use", self.channel(2).exchange_delete, exchange, if_unused=True)
        channel.queue_unbind(queue, exchange, "k")
        channel.exchange_delete(exchange, if_unused=True)

    def test_bindings_between_exchanges(self):
        channel = self.channel(1)
        one, two = self.name("-1"), self.name("-2")
        queue = channel.queue_declare(self.name("-q")).method.queue
        channel.exchange_declare(one, "topic")
        channel.exchange_declare(two, "fanout", internal=True)
        channel.exchange_bind(two, one, "a.#")
        channel.queue_bind(queue, two)
        self.channel(2).basic_publish(one, "a.b", b"through")
        self.assertEqual(b"through", self.get(channel, queue)[2])
        self.assertChannelClosed(
            403, f"ACCESS_REFUSED - cannot publish to internal exchange "
            f"'{two}' in vhost '/'", self.publish_and_wait, two)
        channel.exchange_unbind(two, one, "a.#")
        channel.basic_publish(one, "a.b", b"nowhere")
        self.assertEqual((None, None, None), channel.basic_get(queue))

    def publish_and_wait(self, exchange, properties=None):
        channel = self.channel()
        channel.basic_publish(exchange, "a", b"x", properties)
        channel.queue_declare("")

    def test_what_is_to_come_is_refused_by_name(self):
        for call, args, name in (("tx_select", (), "tx.select"),):
            self.assertConnectionClosed(
                540, f"NOT_IMPLEMENTED - {name}",
                getattr(self.channel(), call), *args)
        for key, value in (("x-message-ttl", 1000), ("x-expires", 1000),
                           ("x-max-length", 10), ("x-max-length-bytes", 10),
                           ("x-dead-letter-exchange", "x"),
                           ("x-max-priority", 3),
                           ("x-single-active-consumer", True)):
            self.assertConnectionClosed(
                540, f"NOT_IMPLEMENTED - queue argument '{key}'",
                self.channel().queue_declare, self.name(), durable=True,
                arguments={key: value})
        self.assertConnectionClosed(
            540, "NOT_IMPLEMENTED - exchange type 'headers'",
            self.channel().exchange_declare, self.name("-x"), "headers")
        self.assertConnectionClosed(
            540, "NOT_IMPLEMENTED - message property 'expiration'",
            self.publish_and_wait, "", pika.BasicProperties(expiration="9"))
        channel = self.channel()
        channel.queue_declare(self.name())
        self.assertConnectionClosed(
            540, "NOT_IMPLEMENTED - consumer argument 'x-priority'",
            channel.basic_consume, self.name(), lambda *_: None,
            arguments={"x-priority": 5})
        self.assertConnectionClosed(
            540, "NOT_IMPLEMENTED - prefetch_size!=0 (10)",
            self.channel().basic_qos, prefetch_size=10)

    def test_no_wait_and_a_barrier(self):
        channel = self.channel()
        name = self.name()
        for i in range(50):
            channel.queue_declare(f"{name}{i}")
        for i in range(50):
            self.channel_of(i).queue_declare(f"{name}{i}", passive=True)

    def channel_of(self, i):
        if not hasattr(self, "shared"):
            self.shared = {n: self.channel(n) for n in (1, 2, 3)}
        return self.shared[i % 3 + 1]


class MessagesTest(ClusterTest):
    """Publishing, confirms, deliveries, acknowledgements."""

    def queue(self, channel, **options):
        name = self.name()
        options.setdefault("durable", True)
        channel.queue_declare(name, **options)
        return name

    def fill(self, channel, name, count):
        channel.confirm_delivery()
        for i in range(count):
            channel.basic_publish("", name, b"%d" % i)

    def consume(self, channel, name, count, **options):
        """Deliveries of COUNT messages, unacknowledged: (method, body)."""
        out = []
        tag = channel.basic_consume(
            name, lambda _c, method, _p, body: out.append((method, body)),
            **options)
        end = time.monotonic() + 10
        while len(out) < count and time.monotonic() < end:
            channel.connection.process_data_events(0.05)
        self.assertEqual(count, len(out))
        return tag, out

    def test_confirm_means_ack(self):
        channel = self.channel(2)
        name = self.queue(channel)
        self.fill(channel, name, 100)
        for n in (1, 2, 3):
            self.assertEqual(100, self.channel(n).queue_declare(
                name, passive=True).method.message_count)

    def test_confirms_come_in_order_of_tags(self):
        frames = []
        name = self.queue(self.channel(1))
        run_select(self.cluster.parameters(2), lambda channel, stop: (
            channel.confirm_delivery(
                lambda f: (frames.append(f.method),
                           f.method.delivery_tag == 500 and stop())),
            [channel.basic_publish("", name, b"%d" % i)
             for i in range(500)]))
        confirmed = []
        for ack in frames:
            self.assertIsInstance(ack, pika.spec.Basic.Ack)
            first = confirmed[-1] + 1 if confirmed and ack.multiple else \
                ack.delivery_tag
            if ack.multiple and not confirmed:
                first = 1
            confirmed += range(first, ack.delivery_tag + 1)
        self.assertEqual(list(range(1, 501)), confirmed)

    def test_mandatory_returns_before_the_confirm(self):
        events = []

        def start(channel, stop):
            channel.add_on_return_callback(
                lambda _c, method, properties, body: events.append(
                    ("return", method.reply_code, method.reply_text,
                     method.exchange, method.routing_key,
                     properties.message_id, body)))
            channel.confirm_delivery(
                lambda f: (events.append(("ack", f.method.delivery_tag)),
                           stop()))
            channel.basic_publish("", "nobody", b"body",
                                  pika.BasicProperties(message_id="m"),
                                  mandatory=True)
        run_select(self.cluster.parameters(3), start)
        self.assertEqual([("return", 312, "NO_ROUTE", "", "nobody", "m",
                           b"body"), ("ack", 1)], events)

    def test_unroutable_and_not_mandatory_is_confirmed(self):
        channel = self.channel()
        channel.confirm_delivery()
        channel.basic_publish("amq.direct", "nobody", b"x")

    def test_immediate_is_not_there(self):
        # pika has no such argument: the bit is set in the method itself.
        channel = self.channel()
        method = pika.spec.Basic.Publish(exchange="", routing_key="k",
                                         immediate=True)
        channel._impl._send_method(method, (pika.BasicProperties(), b"x"))
        self.assertConnectionClosed(540, "NOT_IMPLEMENTED - immediate=true",
                                    channel.queue_declare, "")

    def test_properties_and_headers_arrive_as_sent(self):
        channel = self.channel(1)
        name = self.queue(channel)
        properties = pika.BasicProperties(
            content_type="text/plain", content_encoding="utf-8",
            headers={"text": "t", "int": 7, "long": 1 << 40, "true": True,
                     "none": None, "list": [1, "two", {"three": 3}],
                     "table": {"a": {"b": "c"}}},
            delivery_mode=2, priority=5, correlation_id="c", reply_to="r",
            message_id="m", timestamp=1234567890,
            type="t", user_id="guest", app_id="a", cluster_id="x")
        channel.confirm_delivery()
        channel.basic_publish("", name, b"", properties)
        _, got, body = self.get(self.channel(2), name)
        self.assertEqual(properties.__dict__, got.__dict__)
        self.assertEqual(b"", body)

    def test_user_id_must_be_the_users(self):
        channel = self.channel()
        name = self.queue(channel)
        channel.confirm_delivery()
        self.assertChannelClosed(
            406, "PRECONDITION_FAILED - user_id property set to 'other' but "
            "authenticated user was 'guest'", channel.basic_publish, "", name,
            b"x", pika.BasicProperties(user_id="other"))

    def test_nack_and_reject_requeue_with_redelivered(self):
        channel = self.channel(1)
        name = self.queue(channel)
        self.fill(channel, name, 6)
        _, got = self.consume(channel, name, 6)
        self.assertFalse(any(m.redelivered for m, _ in got))
        channel.basic_nack(got[1][0].delivery_tag, multiple=True)   # 0, 1
        channel.basic_reject(got[2][0].delivery_tag)                # 2
        channel.basic_reject(got[3][0].delivery_tag, requeue=False)  # dropped
        channel.basic_nack(got[4][0].delivery_tag, requeue=False)   # dropped
        channel.basic_ack(got[5][0].delivery_tag)
        channel.connection.close()
        other = self.channel(2)
        _, again = self.consume(other, name, 3)
        self.assertEqual([b"0", b"1", b"2"], [body for _, body in again])
        self.assertTrue(all(m.redelivered for m, _ in again))
        other.basic_ack(0, multiple=True)  # zero: all
        other.connection.close()
        self.assertEqual(0, self.count(name))

    def count(self, name):
        return self.channel(3).queue_declare(
            name, passive=True).method.message_count

    def test_requeued_goes_to_the_front(self):
        channel = self.channel(1)
        name = self.queue(channel)
        self.fill(channel, name, 5)
        method, _, _ = channel.basic_get(name)
        channel.basic_nack(method.delivery_tag, requeue=True)
        self.assertEqual([b"%d" % i for i in range(5)],
                         wait_for(lambda: self.bodies(channel, name), "all"))

    def test_unacknowledged_returns_when_the_channel_closes(self):
        connection = self.connect(1)
        channel = connection.channel()
        name = self.queue(channel)
        self.fill(channel, name, 3)
        self.consume(channel, name, 3)
        channel.close()
        _, got = self.consume(connection.channel(), name, 3)
        self.assertEqual([(b"%d" % i, True) for i in range(3)],
                         [(body, m.redelivered) for m, body in got])

    def test_unacknowledged_returns_when_the_socket_breaks(self):
        connection = self.connect(1)
        channel = connection.channel()
        name = self.queue(channel)
        self.fill(channel, name, 3)
        self.consume(channel, name, 3)
        connection._impl._transport._sock.shutdown(socket.SHUT_RDWR)
        _, got = self.consume(self.channel(2), name, 3)
        self.assertTrue(all(m.redelivered for m, _ in got))

    def test_recover(self):
        channel = self.channel(1)
        name = self.queue(channel)
        self.fill(channel, name, 3)
        out = []
        channel.basic_consume(
            name, lambda _c, m, _p, body: out.append((body, m.redelivered)))
        wait_for(lambda: channel.connection.process_data_events(0) or
                 len(out) == 3, "delivered")
        channel.basic_recover(requeue=True)
        wait_for(lambda: channel.connection.process_data_events(0) or
                 len(out) == 6, "delivered again")
        self.assertEqual([(b"%d" % i, True) for i in range(3)], out[3:])
        self.assertConnectionClosed(540, "NOT_IMPLEMENTED - requeue=false",
                                    channel.basic_recover, requeue=False)

    def test_prefetch_is_respected(self):
        name = self.queue(self.channel(1))
        self.fill(self.channel(2), name, 20)
        channel = self.channel(3)
        channel.basic_qos(prefetch_count=5)
        out = []
        channel.basic_consume(
            name, lambda _c, m, _p, _b: out.append(m.delivery_tag))
        wait_for(lambda: channel.connection.process_data_events(0) or
                 len(out) == 5, "five")
        channel.connection.process_data_events(0.3)
        self.assertEqual(5, len(out))
        channel.basic_ack(2, multiple=True)
        wait_for(lambda: channel.connection.process_data_events(0) or
                 len(out) == 7, "two more")
        channel.connection.process_data_events(0.2)
        self.assertEqual(7, len(out))

    def test_exclusive_consumer(self):
        channel = self.channel(1)
        name = self.queue(channel)
        tag = channel.basic_consume(name, lambda *_: None, exclusive=True)
        text = (f"ACCESS_REFUSED - queue '{name}' in vhost '/' in exclusive "
                "use")
        for n in (1, 2, 3):
            self.assertChannelClosed(403, text, self.channel(n).basic_consume,
                                     name, lambda *_: None)
        channel.basic_cancel(tag)
        channel.basic_consume(name, lambda *_: None)
        self.assertChannelClosed(403, text, self.channel(2).basic_consume,
                                 name, lambda *_: None, exclusive=True)

    def test_consumer_is_told_that_its_queue_is_deleted(self):
        for n in (1, 2, 3):
            with self.subTest(node=n):
                channel = self.channel(n)
                name = f"{self.name()}{n}"
                channel.queue_declare(name)
                cancelled = []
                channel.add_on_cancel_callback(
                    lambda f: cancelled.append(f.method.consumer_tag))
                channel.basic_consume(name, lambda *_: None,
                                      consumer_tag="mine")
                self.channel(n % 3 + 1).queue_delete(name)
                wait_for(lambda: channel.connection.process_data_events(0.05)
                         or cancelled == ["mine"], "cancelled", 5)
                self.assertTrue(channel.is_open)

    def test_consumer_tags(self):
        channel = self.channel()
        name = self.queue(channel)
        channel.basic_consume(name, lambda *_: None, consumer_tag="t")
        method = pika.spec.Basic.Consume(queue=name, consumer_tag="t")
        channel._impl._send_method(method)
        self.assertConnectionClosed(
            530, "NOT_ALLOWED - attempt to reuse consumer tag 't'",
            channel.queue_declare, "")

    def test_get_and_purge(self):
        channel = self.channel(1)
        name = self.queue(channel)
        self.assertEqual((None, None, None), channel.basic_get(name))
        self.fill(channel, name, 10)
        method, _, body = channel.basic_get(name)
        self.assertEqual((9, b"0", False, "", name),
                         (method.message_count, body, method.redelivered,
                          method.exchange, method.routing_key))
        # The one that is held is not purged.
        self.assertEqual(9, self.channel(2).queue_purge(name)
                         .method.message_count)
        channel.basic_nack(method.delivery_tag)
        method, _, body = self.get(self.channel(3), name)
        self.assertEqual((b"0", True), (body, method.redelivered))

    def test_unknown_delivery_tag(self):
        for call, args in (("basic_ack", (7,)), ("basic_nack", (7,)),
                           ("basic_reject", (7,))):
            channel = self.channel()
            getattr(channel, call)(*args)
            self.assertChannelClosed(
                406, "PRECONDITION_FAILED - unknown delivery tag 7",
                channel.queue_declare, "")

    def test_double_ack(self):
        channel = self.channel()
        name = self.queue(channel)
        self.fill(channel, name, 1)
        method, _, _ = channel.basic_get(name)
        channel.basic_ack(method.delivery_tag)
        channel.basic_ack(method.delivery_tag)
        self.assertChannelClosed(
            406, "PRECONDITION_FAILED - unknown delivery tag 1",
            channel.queue_declare, "")

    def test_order_of_one_publisher_is_kept(self):
        channel = self.channel(1)
        name = self.queue(channel)
        for i in range(2000):
            channel.basic_publish("", name, b"%d" % i)
        _, got = self.consume(self.channel(3), name, 2000, auto_ack=True)
        self.assertEqual([b"%d" % i for i in range(2000)],
                         [body for _, body in got])

    def test_one_message_to_many_queues(self):
        channel = self.channel(2)
        channel.confirm_delivery()
        names = [f"{self.name()}{i}" for i in range(20)]
        for name in names:
            channel.queue_declare(name, durable=True)
            channel.queue_bind(name, "amq.fanout")
        channel.basic_publish("amq.fanout", "", b"all")
        for name in names:
            self.assertEqual(1, self.count(name))
            channel.queue_delete(name)


    def test_direct_reply_to_across_nodes(self):
        client, server = self.channel(1), self.channel(2)
        name = self.queue(server)
        answers = []
        client.basic_consume("amq.rabbitmq.reply-to",
                             lambda _c, _m, _p, body: answers.append(body),
                             auto_ack=True)
        client.basic_publish("", name, b"50", pika.BasicProperties(
            reply_to="amq.rabbitmq.reply-to"))
        _, properties, body = self.get(server, name)
        server.basic_publish("", properties.reply_to, body + b"!")
        wait_for(lambda: client.connection.process_data_events(0.05) or
                 answers == [b"50!"], "the answer", 5)


class ConnectionsTest(ClusterTest):
    """Handshake, heartbeats, sizes, scope of errors."""

    def test_server_properties(self):
        connection = self.connect(2)
        properties = connection._impl.server_properties
        self.assertEqual("integration", properties["cluster_name"])
        for name in ("product", "version", "platform", "copyright",
                     "information"):
            self.assertTrue(properties[name], name)
        self.assertEqual(
            {name: name != "consumer_priorities" for name in
             ("publisher_confirms", "exchange_exchange_bindings", "basic.nack",
              "consumer_cancel_notify", "connection.blocked",
              "consumer_priorities", "authentication_failure_close",
              "per_consumer_qos", "direct_reply_to")},
            properties["capabilities"])

    def test_wrong_password(self):
        with self.assertRaisesRegex(
                pika.exceptions.ProbableAuthenticationError,
                "ACCESS_REFUSED - Login was refused using authentication "
                "mechanism PLAIN. For details see the broker logfile."):
            self.cluster.connect(1, password="wrong")

    def test_unknown_vhost(self):
        with self.assertRaisesRegex(
                pika.exceptions.ProbableAccessDeniedError,
                "(530).*NOT_ALLOWED - vhost nowhere not found"):
            self.cluster.connect(1, virtual_host="nowhere")

    def test_large_bodies(self):
        channel = self.channel(1)
        channel.confirm_delivery()
        channel.queue_declare("large", durable=True)
        for size in (0, 1, 131064, 131072, 1 << 20, 16 << 20):
            body = os.urandom(1 << 10) * (size >> 10) + bytes(size & 1023)
            channel.basic_publish("", "large", body)
            _, _, got = self.get(self.channel(3), "large", deadline_s=20)
            self.assertEqual(size, len(got))
            self.assertTrue(body == got, "another body")

    def test_larger_than_allowed(self):
        channel = self.channel(1)
        channel.confirm_delivery()
        self.assertChannelClosed(
            406, "PRECONDITION_FAILED - message size 16777217 is larger than "
            "configured max size 16777216", channel.basic_publish, "", "large",
            bytes((16 << 20) + 1))

    def test_small_frames(self):
        channel = self.channel(1, frame_max=4096)
        channel.queue_declare("small-frames", durable=True)
        body = os.urandom(300000)
        channel.basic_publish("", "small-frames", body)
        other = self.channel(2, frame_max=4096)
        self.assertEqual(body, self.get(other, "small-frames")[2])

    def test_many_channels(self):
        connection = self.connect(1)
        channels = [connection.channel() for _ in range(500)]
        for i, channel in enumerate(channels):
            if i % 50 == 0:
                channel.queue_declare("", exclusive=True)
        self.assertEqual(500, len({c.channel_number for c in channels}))

    def test_channel_max(self):
        connection = self.connect(1, channel_max=3)
        for _ in range(3):
            connection.channel()
        with self.assertRaises(Exception):
            connection.channel()

    def test_a_channel_error_leaves_its_siblings_alone(self):
        connection = self.connect(2)
        good, bad = connection.channel(), connection.channel()
        good.queue_declare("sibling")
        with self.assertRaises(pika.exceptions.ChannelClosedByBroker):
            bad.queue_declare("absent", passive=True)
        good.basic_publish("", "sibling", b"x")
        self.assertEqual(b"x", self.get(good, "sibling")[2])
        again = connection.channel(bad.channel_number)
        again.queue_declare("sibling", passive=True)

    def test_heartbeats_both_ways(self):
        connection = self.connect(1, heartbeat=2)
        connection.channel()
        checker = connection._impl._heartbeat_checker
        before = checker._bytes_received if hasattr(
            checker, "_bytes_received") else 0
        end = time.monotonic() + 5
        while time.monotonic() < end:
            connection.process_data_events(0.2)
        self.assertTrue(connection.is_open)
        self.assertGreater(connection._impl.bytes_received, before)
        self.assertGreaterEqual(connection._impl.frames_received, 4)

    def test_a_silent_client_is_closed(self):
        connection = self.connect(2, heartbeat=1)
        connection.channel().queue_declare("silent", exclusive=True)
        time.sleep(4)  # says nothing for more than two intervals
        wait_for(lambda: self.cluster.queue("silent") is None,
                 "its exclusive queue is gone", 5)

    def test_connections_of_many_threads(self):
        errors = []

        def work(i):
            try:
                for _ in range(5):
                    with self.cluster.connect(i % 3 + 1) as connection:
                        connection.channel().queue_declare("", exclusive=True)
            except Exception as error:
                errors.append(error)
        threads = [threading.Thread(target=work, args=(i,)) for i in range(12)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
        self.assertEqual([], errors)

    def test_blocked_is_not_said_without_cause(self):
        connection = self.connect(1)
        said = []
        connection.add_on_connection_blocked_callback(
            lambda *args: said.append(args))
        connection.channel().queue_declare("")
        self.assertEqual([], said)



def run_select(parameters, start):
    """Run START(channel, stop) on a SelectConnection until it calls stop."""
    def stop():
        connection.close()

    connection = pika.SelectConnection(
        parameters, on_open_callback=lambda c: c.channel(
            on_open_callback=lambda channel: start(channel, stop)))
    ended = []
    connection.add_on_close_callback(
        lambda c, why: (ended.append(why), c.ioloop.stop()))
    connection.add_on_open_error_callback(
        lambda c, why: (ended.append(why), c.ioloop.stop()))
    connection.ioloop.call_later(20, connection.ioloop.stop)
    connection.ioloop.start()
    if not ended or getattr(ended[0], "reply_code", 0) not in (0, 200):
        raise Timeout(f"not ended well: {ended}")
