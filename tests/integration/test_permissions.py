"""Users, virtual hosts and permissions: quoratectl sets them, and pika is told
what is refused."""
import pika

from cluster import ClusterTest


class PermissionsTest(ClusterTest):
    """Users, virtual hosts, permissions."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        for words in (("add_user", "app", "pw"),
                      ("set_permissions", "app", "^app-", "^app-", "^app-"),
                      ("add_user", "nobody", "pw"),
                      ("add_vhost", "/other")):
            out = cls.cluster.run_ctl(2, *words)
            if out.returncode != 0:
                raise AssertionError(out.stderr)

    def app(self, n=1):
        return self.channel(n, user="app", password="pw")

    def refused(self, access, kind, name, call, *args, **kwargs):
        self.assertChannelClosed(
            403, f"ACCESS_REFUSED - {access} access to {kind} '{name}' in "
            "vhost '/' refused for user 'app'", call, *args, **kwargs)

    def test_what_is_allowed(self):
        channel = self.app(3)
        channel.queue_declare("app-q")
        channel.exchange_declare("app-x")
        channel.queue_bind("app-q", "app-x", "k")
        channel.basic_publish("app-x", "k", b"x")
        self.assertEqual(b"x", self.get(channel, "app-q")[2])

    def test_what_is_refused(self):
        self.channel().queue_declare("theirs")
        self.refused("configure", "queue", "mine",
                     self.app(1).queue_declare, "mine")
        self.refused("configure", "exchange", "mine",
                     self.app(2).exchange_declare, "mine")
        self.refused("read", "queue", "theirs", self.app(3).basic_get,
                     "theirs")
        self.refused("read", "queue", "theirs", self.app(1).basic_consume,
                     "theirs", lambda *_: None)
        self.refused("read", "queue", "theirs", self.app(2).queue_purge,
                     "theirs")
        self.refused("configure", "queue", "theirs",
                     self.app(3).queue_delete, "theirs")
        channel = self.app(1)
        channel.confirm_delivery()
        self.refused("write", "exchange", "amq.direct", channel.basic_publish,
                     "amq.direct", "k", b"x")
        channel = self.app(2)
        channel.confirm_delivery()
        self.refused("write", "exchange", "amq.default",
                     channel.basic_publish, "", "app-q", b"x")
        channel = self.app()
        channel.queue_declare("app-b")
        self.refused("read", "exchange", "amq.direct", channel.queue_bind,
                     "app-b", "amq.direct", "k")

    def test_no_permissions_no_vhost(self):
        with self.assertRaisesRegex(
                pika.exceptions.ProbableAccessDeniedError,
                "(530).*NOT_ALLOWED - access to vhost '/' refused for user "
                "'nobody'"):
            self.cluster.connect(1, user="nobody", password="pw")

    def test_a_changed_permission_counts_at_once(self):
        self.cluster.run_ctl(1, "add_user", "changing", "pw")
        self.cluster.run_ctl(1, "set_permissions", "changing", ".*", ".*",
                             ".*")
        channel = self.channel(3, user="changing", password="pw")
        channel.queue_declare("changing")
        out = self.cluster.run_ctl(2, "set_permissions", "changing", "", "",
                                   "")
        self.assertEqual(0, out.returncode, out.stderr)
        self.assertChannelClosed(
            403, "ACCESS_REFUSED - configure access to queue 'changing' in "
            "vhost '/' refused for user 'changing'", channel.queue_delete,
            "changing")

    def test_vhosts_are_apart(self):
        self.channel(1).queue_declare("apart")
        out = self.cluster.run_ctl(1, "set_permissions", "-p", "/other",
                                   "guest", ".*", ".*", ".*")
        self.assertEqual(0, out.returncode, out.stderr)
        channel = self.channel(2, virtual_host="/other")
        self.assertChannelClosed(
            404, "NOT_FOUND - no queue 'apart' in vhost '/other'",
            channel.queue_declare, "apart", passive=True)

    def test_a_deleted_vhost_closes_its_connections(self):
        for words in (("add_vhost", "doomed"),
                      ("set_permissions", "-p", "doomed", "guest", ".*", ".*",
                       ".*")):
            self.assertEqual(0, self.cluster.run_ctl(1, *words).returncode)
        channel = self.channel(3, virtual_host="doomed")
        channel.queue_declare("in-it", durable=True)
        self.assertEqual(0, self.cluster.run_ctl(
            1, "delete_vhost", "doomed").returncode)
        self.assertConnectionClosed(
            320, "CONNECTION_FORCED - broker forced connection closure with "
            "reason 'vhost is deleted'", self.poll, channel)

    @staticmethod
    def poll(channel):
        for _ in range(100):
            channel.connection.process_data_events(0.05)
