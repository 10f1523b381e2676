"""Public P4Runtime clients against the emulated switch.

Run by .ci/python, a client an environment of its own:

    python .ci/p4peers.py finsy|p4runtime-shell|aiop4 HOST:PORT P4INFO DEVICE-CONFIG

Each arbitrates, pushes the program, inserts, modifies, reads (with wildcards
too), reads counters and meters where it can, takes a packet in, sends one out,
and deletes what it made.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Any


def check(ok: bool, what: str) -> None:
    if not ok:
        raise SystemExit(f"{CLIENT}: {what}")
    print(f"{CLIENT}: {what}: ok")


async def finsy(address: str, info: Path, device: Path) -> None:
    import finsy as fy

    limit = fy.P4TableAction("set_limit", limit=64, qid=1)
    first = fy.P4TableEntry("queue_limit", match=fy.P4TableMatch(egress_port=1), action=limit)
    route = fy.P4TableEntry(
        "ipv4_lpm",
        match=fy.P4TableMatch({"h.ipv4.dst": "10.0.0.0/24"}),
        action=fy.P4TableAction("forward", dmac=2, port=1),
    )
    options = fy.SwitchOptions(p4info=info, p4blob=device, device_id=DEVICE)
    async with fy.Switch("sw", address, options) as sw:
        check(sw.is_primary, "arbitrates and pushes the program")
        await sw.insert([first, route])
        first.action = fy.P4TableAction("set_limit", limit=32, qid=0)
        await sw.modify([first])
        found = [e async for e in sw.read(fy.P4TableEntry())]
        check(len(found) >= 2, "reads all tables by a wildcard")
        found = [
            e
            async for e in sw.read(
                fy.P4TableEntry("queue_limit", match=fy.P4TableMatch(egress_port=1))
            )
        ]
        check(len(found) == 1 and found[0].action.args["limit"] == 32, "reads what it modified")
        counters = [e async for e in sw.read(fy.P4DirectCounterEntry("limit_ctr"))]
        check(len(counters) == 1, "reads direct counters")
        counters = [e async for e in sw.read(fy.P4CounterEntry("limit_drops"))]
        check(len(counters) == 512, "reads indirect counters")
        meters = [e async for e in sw.read(fy.P4DirectMeterEntry(table_entry=first))]
        check(len(meters) == 1, "reads direct meters")
        await sw.write(fy.P4PacketOut(b"probe", egress_port=1, pad=0))
        async for packet in sw.read_packets():
            check(len(packet.payload) > 0, "sends a packet out and takes one in")
            break
        await sw.delete_all()
        found = [e async for e in sw.read(fy.P4TableEntry())]
        check(not found, "delete_all")


def shell(address: str, info: Path, device: Path) -> None:
    import p4runtime_sh.shell as sh

    sh.setup(
        device_id=DEVICE,
        grpc_addr=address,
        election_id=(0, 1),
        config=sh.FwdPipeConfig(str(info), str(device)),
    )
    try:
        check(True, "arbitrates and pushes the program")
        entry = sh.TableEntry("I.queue_limit")(action="I.set_limit")
        entry.match["egress_port"] = "1"
        entry.action["limit"], entry.action["qid"] = "64", "1"
        entry.insert()
        entry.action["limit"], entry.action["qid"] = "32", "0"
        entry.modify()
        found = list(sh.TableEntry("I.queue_limit").read())
        check(
            len(found) == 1 and found[0].action["limit"] is not None,
            "inserts, modifies and reads a table",
        )
        counters = list(sh.CounterEntry("I.limit_drops").read())
        check(len(counters) == 512, "reads indirect counters")
        direct = sh.DirectCounterEntry("I.limit_ctr")
        check(len(list(direct.read())) == 1, "reads direct counters")
        meter = sh.DirectMeterEntry("I.queue_limit_meter")
        check(len(list(meter.read())) == 1, "reads direct meters")
        out = sh.PacketOut()
        out.payload, out.metadata["egress_port"], out.metadata["pad"] = b"probe", "1", "0"
        out.send()
        got: list[Any] = []
        sh.PacketIn().sniff(function=got.append, timeout=3)
        check(bool(got), "sends a packet out and takes packets in")
        entry.delete()
        check(not list(sh.TableEntry("I.queue_limit").read()), "deletes")
    finally:
        sh.teardown()


async def aiop4(address: str, info: Path, device: Path) -> None:
    from aiop4 import Client
    from p4.v1 import p4runtime_pb2 as v1

    client = Client(host=address, device_id=DEVICE)
    await client.become_primary_or_raise(timeout=5)
    check(client.is_primary(), "arbitrates")
    await client.set_fwd_pipeline_from_file(str(info), str(device), cookie=7)
    check(
        (await client.get_fwd_pipeline()).config.cookie.cookie == 7,
        "pushes the program and gets it",
    )

    def entry(limit: int, qid: int) -> Any:
        port = v1.FieldMatch.Exact(value=b"\x01")
        return client.new_table_entry(
            "I.queue_limit", {"egress_port": port}, "I.set_limit", [bytes([limit]), bytes([qid])]
        )

    await client.insert_entity(entry(64, 1))
    await client.modify_entity(entry(32, 0))
    await client.insert_multicast_group(5, [1])
    packet = await asyncio.wait_for(client.queue.get(), 5)
    check(
        packet.WhichOneof("update") == "packet",
        "inserts, modifies, makes a group and takes a packet in",
    )
    await client.delete_entity(entry(32, 0))
    check(True, "deletes")


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    CLIENT, DEVICE = sys.argv[1], 3  # the last of three: the one that hands probes up
    arguments = (sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    if CLIENT == "finsy":
        asyncio.run(finsy(*arguments))
    elif CLIENT == "p4runtime-shell":
        shell(*arguments)
    else:
        asyncio.run(aiop4(*arguments))
