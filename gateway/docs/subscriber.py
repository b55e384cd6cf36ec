#!/usr/bin/env python3
"""Every event of every gateway, once, in an SQLite table.

A subscriber that does what delivery at least once asks for, in the order in which it has to be done:

  1. a persistent session, so that the broker keeps what comes while this program is away;
  2. the events, and what is known of their numbers, in one transaction, known ids dropped;
  3. the broker's acknowledgement after that transaction, never before;
  4. gaps found by `terminalsequence`, from 1 on, and said once they have lasted, because critical events overtake others;
  5. a new connection where nothing has come for a while: clusters are known to forget a consumer when they lose a node,
     while its line stands and its messages wait.

It takes single events and batches, packed or not, of MQTT 5 and 3.1.1, goes from broker to broker, and may be killed at any
moment. What is no event costs no other: it is kept aside, and the rest of its batch is taken. An event that comes again with
its times corrected takes the place of the first copy. `pip install -r requirements.txt`, then:

  subscriber.py --broker broker-a:1883 --broker broker-b:1883 --table events.db
  subscriber.py --broker broker-a:8883 --ca ca.pem --cert archive.pem --key archive.key --table events.db
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
# What SQLite's integers hold.
NUMBERS = range(1, 2**63)

SCHEMA = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
CREATE TABLE IF NOT EXISTS events (
    id TEXT PRIMARY KEY, epoch TEXT NOT NULL, sequence INTEGER NOT NULL, site TEXT NOT NULL, terminal TEXT NOT NULL,
    terminal_sequence INTEGER NOT NULL, kind TEXT NOT NULL, severity TEXT NOT NULL, time TEXT, data TEXT NOT NULL,
    -- How often it came: more than once is allowed, and counts once.
    times INTEGER NOT NULL DEFAULT 1
) WITHOUT ROWID;
-- The numbers of a terminal that are there, as runs without gaps. The first run begins with 0, which stands for all that need
-- not come: a terminal with one run misses nothing.
CREATE TABLE IF NOT EXISTS runs (
    epoch TEXT NOT NULL, terminal TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL, since REAL NOT NULL,
    PRIMARY KEY (epoch, terminal, first)
) WITHOUT ROWID;
-- Those behind a gap, so that looking for gaps costs what is open, however many terminals there are.
CREATE INDEX IF NOT EXISTS runs_behind_gaps ON runs (since) WHERE first > 0;
-- The stores that were heard, and whether from the middle on: then a terminal counts from the first number that it says.
CREATE TABLE IF NOT EXISTS epochs (epoch TEXT PRIMARY KEY, gateway TEXT NOT NULL, late INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS epochs_by_gateway ON epochs (gateway);
-- What is no event, or says something else under a known id: kept for people, and acknowledged, so that it blocks nothing.
CREATE TABLE IF NOT EXISTS strange (at REAL NOT NULL, topic TEXT NOT NULL, why TEXT NOT NULL, payload BLOB NOT NULL);
"""


class Strange(Exception):
    """A message that is no event."""


class Table:
    """The events, and what is known of their numbers."""

    def __init__(self, path, late=False, largest=1 << 20):
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.executescript(SCHEMA)
        self.late, self.largest = late, largest
        self.said, self.looked = set(), 0.0

    def keep(self, messages):
        """Everything that these messages say, in one transaction. It is on the disk when this returns."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            for topic, payload in messages:
                try:
                    found = events(payload, self.largest)
                except Strange as why:
                    self.set_aside(topic, why, payload)
                    continue
                # One that is strange costs none of its company.
                for event in found:
                    try:
                        self.take(event)
                    except Strange as why:
                        self.set_aside(topic, why, payload if len(found) == 1 else json.dumps(event).encode())
            self.db.execute("COMMIT")
        except BaseException:
            self.db.execute("ROLLBACK")
            raise

    def set_aside(self, topic, why, payload):
        self.db.execute("INSERT INTO strange VALUES (?, ?, ?, ?)", (time.time(), topic, str(why), payload))

    def take(self, event):
        try:
            identity, data = event["id"], json.dumps(event["data"], sort_keys=True)
            # {gateway}-{epoch}-{sequence}: another epoch is another store.
            epoch, terminal, number = identity.rsplit("-", 1)[0], event["subject"], int(event["terminalsequence"])
            site, sequence = event["source"].split("/")[1], int(event["sequence"])
            if number not in NUMBERS or sequence not in NUMBERS:
                raise ValueError("no such number")
            texts = (identity, epoch, site, terminal, event["data"]["kind"], event["severity"], event.get("time") or "")
            "".join(texts).encode()
        except (AttributeError, IndexError, KeyError, TypeError, ValueError, RecursionError) as fault:
            raise Strange(f"no event: {fault!r}") from fault
        known = self.db.execute("SELECT data FROM events WHERE id = ?", (identity,)).fetchone()
        if known is None:
            row = (identity, epoch, sequence, site, terminal, number, event["data"]["kind"], event["severity"])
            row += (event.get("time"), data)
            self.db.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)", row)
            self.count(epoch, terminal, number)
            return
        if known[0] != data:
            before = json.loads(known[0])
            if timeless(before) != timeless(event["data"]) or not (corrected(before) or corrected(event["data"])):
                raise Strange(f"{identity} has said something else before")
            # The gateway learnt what time it was when it had sent the event already. A copy from before that may still come.
            if corrected(event["data"]):
                corrections = (event.get("time"), data, identity)
                self.db.execute("UPDATE events SET time = ?, data = ? WHERE id = ?", corrections)
        self.db.execute("UPDATE events SET times = times + 1 WHERE id = ?", (identity,))

    def count(self, epoch, terminal, number):
        """Puts a number to the runs that it touches."""
        of = (epoch, terminal)
        before = self.db.execute(
            "SELECT first, last, since FROM runs WHERE epoch = ? AND terminal = ? AND first <= ?"
            " ORDER BY first DESC LIMIT 1",
            (*of, number),
        ).fetchone()
        if before is None:
            before = (0, self.begin(epoch, terminal, number), time.time())
            self.db.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?)", (*of, *before))
        if number <= before[1]:
            return
        after = self.db.execute(
            "SELECT first, last, since FROM runs WHERE epoch = ? AND terminal = ? AND first = ?", (*of, number + 1)
        ).fetchone()
        first, last, since = number, number, time.time()
        if after is not None:
            self.db.execute("DELETE FROM runs WHERE epoch = ? AND terminal = ? AND first = ?", (*of, after[0]))
            last = after[1]
        if before[1] == number - 1:
            first, _, since = before
        self.db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)", (*of, first, last, since))

    def begin(self, epoch, terminal, number):
        """The last number of a terminal that need not come: 0, because they begin with 1, but for two reasons."""
        gateway = epoch.rsplit("-", 1)[0]
        others = self.db.execute("SELECT epoch FROM epochs WHERE gateway = ? AND epoch <> ?", (gateway, epoch)).fetchall()
        late = int(self.late and not others)
        self.db.execute("INSERT INTO epochs VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (epoch, gateway, late))
        (late,) = self.db.execute("SELECT late FROM epochs WHERE epoch = ?", (epoch,)).fetchone()
        # We came when it had been talking for a while.
        if late:
            return number - 1
        # A store that was restored goes on from the backup's numbers, which came under the epoch before.
        found = "SELECT max(min(last, ?)) FROM runs WHERE epoch = ? AND terminal = ? AND first < ?"
        last = (self.db.execute(found, (number - 1, other, terminal, number)).fetchone()[0] for (other,) in others)
        return max((number for number in last if number is not None), default=0)

    def gaps(self, lasting=0.0):
        """Epoch, terminal, and the first and last number that are missing for so many seconds at least."""
        rows = self.db.execute(
            "SELECT epoch, terminal, before + 1, first - 1 FROM (SELECT epoch, terminal, first,"
            " (SELECT last FROM runs AS run WHERE run.epoch = runs.epoch AND run.terminal = runs.terminal"
            " AND run.first < runs.first ORDER BY run.first DESC LIMIT 1) AS before"
            " FROM runs INDEXED BY runs_behind_gaps WHERE first > 0 AND since <= ?) WHERE before IS NOT NULL",
            (time.time() - lasting,),
        )
        return rows.fetchall()

    def say_gaps(self):
        """Says each gap once, and looks for them once a second at most."""
        if time.monotonic() - self.looked < 1.0:
            return
        self.looked = time.monotonic()
        gaps = set(self.gaps(PATIENCE))
        for epoch, terminal, first, last in sorted(gaps - self.said):
            say(f"missing: {terminal} {first} to {last} of {epoch}")
        self.said = gaps


def corrected(data):
    """Whether the gateway has worked out since when that was."""
    return data.get("time_corrected") is True


def timeless(data):
    """What does not change when an event's times are corrected: its own clock's times are all that does."""
    ours = {"received_at", "time_corrected"} | ({"occurred_at"} if data.get("rule") else set())
    return {key: value for key, value in data.items() if key not in ours}


def events(payload, largest):
    """The CloudEvents of a message, which must not unpack to more than so many bytes: a few thousand can hold a gigabyte."""
    try:
        if payload.startswith(ZSTD):
            import zstandard

            reader = zstandard.ZstdDecompressor(max_window_size=1 << 23).stream_reader(payload)
            payload = reader.read(largest + 1)
        if len(payload) > largest:
            raise ValueError(f"more than {largest} bytes")
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
        if options.ca or options.cert:
            self.client.tls_set(options.ca, options.cert, options.key)
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
    arguments.add_argument("--cert", help="our own certificate (PEM), where the broker asks for one; TLS, too")
    arguments.add_argument("--key", help="its private key, where that is in a file of its own")
    arguments.add_argument(
        "--late",
        action="store_true",
        help="we come to gateways that have published before: what a gateway that is new to the table said before its"
        " first event is not missed. Leave it out from the second start on",
    )
    arguments.add_argument(
        "--largest", type=int, default=1 << 20, help="bytes of a message, unpacked; larger ones are kept as strange"
    )
    options = arguments.parse_args()

    table = Table(options.table, options.late, options.largest)
    if options.gaps:
        names = ("epoch", "terminal", "first", "last")
        say(json.dumps([dict(zip(names, gap)) for gap in sorted(table.gaps())]))
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
