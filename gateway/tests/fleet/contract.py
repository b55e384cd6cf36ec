"""Hears everything that is published and holds it against asyncapi.yaml and the schemas; says at SIGTERM what it found.

Fields that no schema knows are faults here, although subscribers have to expect new ones: the page shall be complete.
"""

import json
import re
import signal
import sys
from pathlib import Path
from urllib.parse import unquote

import yaml
import zstandard
from jsonschema import Draft202012Validator
from paho.mqtt import client as paho
from paho.mqtt.subscribeoptions import SubscribeOptions
from referencing import Registry, Resource

host, port, user, password, docs = sys.argv[1:]
docs = Path(docs)
document = yaml.safe_load((docs / "asyncapi.yaml").read_text())


def resolve(node):
    """What a reference within the document stands for."""
    while "$ref" in node and node["$ref"].startswith("#"):
        target = document
        for part in node["$ref"].split("/")[1:]:
            target = target[part]
        node = target
    return node


def references(node):
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node
        for value in node.values():
            yield from references(value)


def close(node):
    """The same schema, without room for what it does not name."""
    if isinstance(node, dict):
        node = {key: close(value) for key, value in node.items()}
        if "properties" in node and node.get("type") == "object":
            node.setdefault("additionalProperties", False)
        return node
    return [close(value) for value in node] if isinstance(node, list) else node


schemas = {}
for path in sorted((docs / "schema").glob("*.json")):
    schema = json.loads(path.read_text())
    Draft202012Validator.check_schema(schema)
    assert schema["$id"].endswith(f"/{path.name}"), path
    schemas[path.name] = close(schema)
registry = Registry().with_resources((s["$id"], Resource.from_contents(s)) for s in schemas.values())
used = set()
for node in references(document):
    if node["$ref"].startswith("#"):
        assert isinstance(resolve(node), dict), node
    else:
        used.add(Path(node["$ref"]).name)
assert used | {"event.json"} == set(schemas), f"{used} are named, {set(schemas)} are there"


def binding(name):
    """QoS and whether it is retained, by the one operation that says something on this channel."""
    found = [one for one in document["operations"].values() if one["channel"]["$ref"] == f"#/channels/{name}"]
    assert len(found) == 1, f"{len(found)} operations are on {name}"
    bound = resolve(found[0]["bindings"])["mqtt"]
    return bound["qos"], bound["retain"]


class Channel:
    def __init__(self, name, channel):
        self.name, self.heard, self.kinds, self.bound = name, 0, [], binding(name)
        level = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(channel["address"]))
        assert set(re.findall(r"\{(\w+)\}", channel["address"])) == set(channel["parameters"]), name
        self.topic = re.compile(level)
        for message in map(resolve, channel["messages"].values()):
            payload = message["payload"]
            schema = schemas[Path(payload["schema"]["$ref"]).name] if "schema" in payload else payload
            kind = message.get("contentType", document["defaultContentType"])
            headers = close(message.get("headers", {"type": "object", "properties": {}}))
            self.kinds.append((kind, Draft202012Validator(schema, registry=registry), Draft202012Validator(headers)))

    def take(self, message, levels):
        """Why it does not fit; nothing where it does."""
        properties = message.properties
        headers = dict(getattr(properties, "UserProperty", []))
        payload = message.payload
        if headers.get("content-encoding") == "zstd":
            payload = zstandard.ZstdDecompressor().decompress(payload)
            packed.add(self.name)
        value = json.loads(payload) if payload else ""
        said = getattr(properties, "ContentType", None)
        faults = []
        if (now := (message.qos, message.retain)) != self.bound:
            return [f"QoS and retain are {now}, not {self.bound}"]
        for kind, validator, head in self.kinds:
            errors = [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(value)]
            errors += [f"header {error.json_path}: {error.message[:300]}" for error in head.iter_errors(headers)]
            # A command is others' to say, and its result needs none to be told from others; what is gone has no content.
            if payload and self.name not in ("command", "result") and said != kind:
                errors.append(f"its content type is {said}, not {kind}")
            if not errors:
                self.heard += 1
                return agree(levels, value)
            faults += errors
        return faults


def agree(levels, value):
    """Whether a message says the same as its topic."""
    wrong = []
    for event in value if isinstance(value, list) else [value] if "specversion" in value else []:
        said = {"site": unquote(event["source"].split("/")[1]), "terminal": event["subject"]}
        said["family"], said["happening"] = event["type"].removeprefix("vestibule.").split(".")
        said["gateway"] = unquote(event["source"].split("/")[2])
        wrong += [f"{name} is {said[name]}" for name, level in levels.items() if said[name] != unquote(level)]
        data = event["data"]
        pairs = [(event["id"], data["id"]), (event["sequence"], str(data["seq"])), (event["subject"], data["terminal"])]
        pairs += [(event["terminalsequence"], str(data["terminal_seq"])), (event["severity"], data["severity"])]
        pairs += [(event["type"], f"vestibule.{data['kind']}")]
        wrong += [f"{one} is {other} in data" for one, other in pairs if one != other]
    for name in ("site", "gateway", "terminal", "id"):
        if isinstance(value, dict) and "specversion" not in value and name in levels and name in value:
            if unquote(levels[name]) != value[name]:
                wrong.append(f"{name} is {value[name]}")
    return wrong


channels = [Channel(name, channel) for name, channel in document["channels"].items()]
faults, seen, said, packed = [], {"kinds": set(), "protocols": set()}, set(), set()


def take(client, userdata, message):
    hits = [(channel, hit) for channel in channels if (hit := channel.topic.fullmatch(message.topic))]
    if len(hits) != 1:
        faults.append(f"{message.topic} is of the channels {[channel.name for channel, _ in hits]}")
        return
    channel, hit = hits[0]
    try:
        faults.extend(f"{message.topic}: {fault}" for fault in channel.take(message, hit.groupdict()))
        value = json.loads(message.payload) if message.payload[:1] == b"{" else {}
    except Exception as fault:
        faults.append(f"{message.topic}: {fault!r}: {message.payload[:200]}")
        return
    seen["kinds"].add(value.get("data", {}).get("kind"))
    seen["protocols"].add(value.get("data", {}).get("protocol"))
    # For the test, which waits for some of them.
    word = value.get("status") or value.get("code") or value.get("state") or ("something" if message.payload else "nothing")
    if (what := f"heard {channel.name} {word}") not in said:
        said.add(what)
        print(what, flush=True)


def connected(client, *_):
    # As it was published, so that it can be seen what is kept for whoever comes later.
    client.subscribe("vestibule/v1/#", options=SubscribeOptions(qos=1, retainAsPublished=True))


def stop(*_):
    client.disconnect()


client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id="contract", protocol=paho.MQTTv5)
client.username_pw_set(user, password)
client.on_connect, client.on_message = connected, take
client.on_subscribe = lambda *_: print("subscribed", flush=True)
signal.signal(signal.SIGTERM, stop)
client.connect(host, int(port))
client.loop_forever()
report = {"faults": faults, "packed": sorted(packed), "heard": {channel.name: channel.heard for channel in channels}}
print(json.dumps(report | {name: sorted(filter(None, values)) for name, values in seen.items()}), flush=True)
