#!/usr/bin/env python3
"""Every event of every gateway, once, in an SQLite table.

A subscriber that does what delivery at least once asks for, in the order in which it has to be done:

  1. a persistent session, so that the broker keeps what comes while this program is away;
  2. the events, and what is known of their numbers, in one transaction, known ids dropped;
  3. the broker's acknowledgement after that transaction, never before;
  4. gaps found by `terminalsequence`, and said once they have lasted, because critical events overtake others;
  5. a new connection where nothing has come for a while: clusters are known to forget a consumer when they lose a node,
     while its line stands and its messages wait.

It takes single events and batches, packed or not, of MQTT 5 and 3.1.1, goes from broker to broker, and may be killed at any
moment. `pip install -r requirements.txt`, then:

  subscriber.py --broker broker-a:1883 --broker broker-b:1883 --table events.db
  subscriber.py --table events.db --gaps          # what is missing, as JSON, and end
"""

import argparse
import itertools
import json
import random
import signal
import sqlite3
import sys
import time
from pathlib import Path

# Most messages in one transaction; one transaction is one fsync.
TOGETHER = 500
# Seconds that a number may be missing before that is said.
PATIENCE = 30
# First and longest pause between connections, in seconds.
PAUSES = (0.2, 30.0)
# What zstd's frames begin with: 3.1.1 has no properties to say that a batch is packed.
ZSTD = b"\x28\xb5\x2f\xfd"

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS events (
    id TEXT PRIMARY KEY, epoch TEXT NOT NULL, sequence INTEGER NOT NULL, site TEXT NOT NULL, terminal TEXT NOT NULL,
    terminal_sequence INTEGER NOT NULL, kind TEXT NOT NULL, severity TEXT NOT NULL, time TEXT, data TEXT NOT NULL,
    -- How often it came: more than once is allowed, and counts once.
    times INTEGER NOT NULL DEFAULT 1
) WITHOUT ROWID;
-- The numbers of a terminal that are there, as runs without gaps. A terminal with one run misses nothing.
CREATE TABLE IF NOT EXISTS runs (
    epoch TEXT NOT NULL, terminal TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, since REAL NOT NULL,
    PRIMARY KEY (epoch, terminal, first)
) WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS runs_by_end ON runs (epoch, terminal, last);
-- What is no event, or says something else under a known id: kept for people, and acknowledged, so that it blocks nothing.
CREATE TABLE IF NOT EXISTS strange (at REAL NOT NULL, topic TEXT NOT NULL, why TEXT NOT NULL, payload BLOB NOT NULL);
"""


class Strange(Exception):
    """A message that is no event."""


class Table:
    """The events, and what is known of their numbers."""

    def __init__(self, path):
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.executescript(SCHEMA)
        self.said = set()

    def keep(self, messages):
        """Everything that these messages say, in one transaction. It is on the disk when this returns."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            for topic, payload in messages:
                try:
                    for event in events(payload):
                        self.take(topic, event)
                except Strange as why:
                    row = (time.time(), topic, str(why), payload)
                    self.db.execute("INSERT INTO strange VALUES (?, ?, ?, ?)", row)
            self.db.execute("COMMIT")
        except BaseException:
            self.db.execute("ROLLBACK")
            raise

    def take(self, topic, event):
        try:
            identity, data = event["id"], json.dumps(event["data"], sort_keys=True)
            # {gateway}-{epoch}-{sequence}: another epoch is another store, whose numbers begin at 1.
            epoch, terminal, number = identity.rsplit("-", 1)[0], event["subject"], int(event["terminalsequence"])
            site = event["source"].split("/")[1]
            row = (identity, epoch, int(event["sequence"]), site, terminal, number, event["data"]["kind"])
            row += (event["severity"], event.get("time"), data)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as fault:
            raise Strange(f"no event: {fault!r}") from fault
        known = self.db.execute("SELECT data FROM events WHERE id = ?", (identity,)).fetchone()
        if known is None:
            self.db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)", row)
            self.count(epoch, terminal, number)
        elif known[0] == data:
            self.db.execute("UPDATE events SET times = times + 1 WHERE id = ?", (identity,))
        else:
            raise Strange(f"{identity} has said something else before")

    def count(self, epoch, terminal, number):
        """Puts a number to the runs that it touches."""
        of = (epoch, terminal)
        before = self.db.execute(
            "SELECT first, since FROM runs WHERE epoch = ? AND terminal = ? AND last = ?", (*of, number - 1)
        ).fetchone()
        after = self.db.execute(
            "SELECT first, last, since FROM runs WHERE epoch = ? AND terminal = ? AND first = ?", (*of, number + 1)
        ).fetchone()
        for run in (before, after):
            if run is not None:
                self.db.execute("DELETE FROM runs WHERE epoch = ? AND terminal = ? AND first = ?", (*of, run[0]))
        first, since = before or (number, time.time())
        last = number if after is None else after[1]
        self.db.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?)", (*of, first, last, since))

    def gaps(self, lasting=0.0):
        """Epoch, terminal, and the first and last number that are missing for so many seconds at least."""
        rows = self.db.execute(
            "SELECT epoch, terminal, before + 1, first - 1 FROM (SELECT *, lag(last) OVER"
            " (PARTITION BY epoch, terminal ORDER BY first) AS before FROM runs)"
            " WHERE before IS NOT NULL AND since <= ?",
            (time.time() - lasting,),
        )
        return rows.fetchall()

    def say_gaps(self):
        """Says each gap once."""
        gaps = set(self.gaps(PATIENCE))
        for epoch, terminal, first, last in sorted(gaps - self.said):
            say(f"missing: {terminal} {first} to {last} of {epoch}")
        self.said = gaps


def events(payload):
    """The CloudEvents of a message."""
    try:
        if payload.startswith(ZSTD):
            import zstandard

            payload = zstandard.ZstdDecompressor().decompressobj().decompress(payload)
        message = json.loads(payload)
    except Exception as fault:  # whatever a stranger's bytes can do
        raise Strange(f"no JSON: {fault}") from fault
    return message if isinstance(message, list) else [message]


class Session:
    """One connection to one broker."""

    def __init__(self, options, table):
        from paho.mqtt import client as paho
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        self.options, self.table = options, table
        self.fresh, self.refused, self.subscribed = [], None, False
        self.five = options.mqtt == "5"
        self.client = paho.Client(
            paho.CallbackAPIVersion.VERSION2,
            client_id=options.client_id,
            protocol=paho.MQTTv5 if self.five else paho.MQTTv311,
            clean_session=None if self.five else False,
            manual_ack=True,
        )
        self.properties = None
        if self.five:
            self.properties = Properties(PacketTypes.CONNECT)
            self.properties.SessionExpiryInterval = options.session_days * 86_400
            self.properties.ReceiveMaximum = options.receive_maximum
        if options.username:
            password = Path(options.password_file).read_text().rstrip("\r\n") if options.password_file else None
            self.client.username_pw_set(options.username, password)
        if options.ca:
            self.client.tls_set(options.ca)
        self.client.on_connect = self.connected
        self.client.on_subscribe = self.answered
        self.client.on_message = lambda client, userdata, message: self.fresh.append(message)

    def connected(self, client, userdata, flags, reason, properties):
        if reason.is_failure:
            self.refused = str(reason)
            return
        root = self.options.root
        client.subscribe([(f"{root}/+/+/event/#", 1), (f"{root}/+/gateway/+/events", 1)])

    def answered(self, client, userdata, mid, reasons, properties):
        if any(reason.is_failure for reason in reasons):
            self.refused = "the subscription is not allowed"
        else:
            self.subscribed = True
            say("subscribed")

    def run(self, host, port, stopped):
        """Until the connection ends, or until we are to stop."""
        extra = {"clean_start": False, "properties": self.properties} if self.five else {}
        self.client.connect(host, port, keepalive=15, **extra)
        code, heard = 0, time.monotonic()
        while code == 0 and self.refused is None and not stopped():
            code = self.client.loop(0.5)
            # What has come in the meantime goes into the same transaction.
            while code == 0 and 0 < (had := len(self.fresh)) < TOGETHER:
                code = self.client.loop(0)
                if len(self.fresh) == had:
                    break
            if self.fresh:
                heard = time.monotonic()
            self.keep()
            self.table.say_gaps()
            if time.monotonic() - heard > self.options.silence:
                self.refused = f"nothing has come for {self.options.silence} s"
        if code == 0:
            self.client.disconnect()
        return self.refused or f"the connection ended: {code}"

    def keep(self):
        """Keeps what has come, then says so to the broker. On a line that is lost nobody hears it, and it comes again."""
        messages, self.fresh = self.fresh, []
        if messages:
            self.table.keep([(message.topic, message.payload) for message in messages])
        for message in messages:
            if message.qos > 0:
                self.client.ack(message.mid, message.qos)


def say(text):
    print(text, flush=True)


def address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


def main():
    arguments = argparse.ArgumentParser(description="Every event of every gateway, once, in an SQLite table.")
    arguments.add_argument("--table", required=True, help="the SQLite file")
    arguments.add_argument("--gaps", action="store_true", help="print what is missing, as JSON, and end")
    arguments.add_argument("--broker", type=address, action="append", default=[], metavar="HOST:PORT")
    arguments.add_argument("--mqtt", choices=["5", "3.1.1"], default="5")
    arguments.add_argument("--root", default="vestibule/v1")
    arguments.add_argument("--client-id", default="vestibule-events", help="the session's name; one program at a time")
    arguments.add_argument("--session-days", type=int, default=7, help="how long the broker keeps it while we are away")
    arguments.add_argument("--receive-maximum", type=int, default=1000, help="messages under way (MQTT 5)")
    arguments.add_argument(
        "--silence", type=int, default=60, help="seconds without a message after which we go to the next broker"
    )
    arguments.add_argument("--username")
    arguments.add_argument("--password-file")
    arguments.add_argument("--ca", help="authorities of the broker's certificate (PEM); with it, TLS is spoken")
    options = arguments.parse_args()

    table = Table(options.table)
    if options.gaps:
        names = ("epoch", "terminal", "first", "last")
        say(json.dumps([dict(zip(names, gap)) for gap in table.gaps()]))
        return 0
    if not options.broker:
        arguments.error("--broker is needed")

    stopping = False

    def stop(*_):
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    pause, tried = PAUSES[0], 0
    for host, port in itertools.cycle(options.broker):
        session, why = Session(options, table), ""
        try:
            why = session.run(host, port, lambda: stopping)
        except OSError as fault:
            why = str(fault)
        if stopping:
            return 0
        say(f"{host}:{port}: {why}")
        tried = 0 if session.subscribed else tried + 1
        if session.subscribed:
            pause = PAUSES[0]
        # The next broker at once; after a round of them, longer each time, and not in step with others.
        if session.subscribed or tried % len(options.broker) == 0:
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, PAUSES[1])
    return 0


if __name__ == "__main__":
    sys.exit(main())
