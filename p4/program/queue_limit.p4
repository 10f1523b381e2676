/* One P4Runtime write sets the effective queue limit of an egress port: table queue_limit, action set_limit.
 *
 *  -DVARIANT=n picks how the limit is enforced. planegym ships 4 ("queue") and 1 ("meter"); the others are here because
 *  they were measured beside them:
 *    1  METER  : direct packet meter on queue_limit; cburst = limit, cir = service rate (a token bucket is a virtual queue)
 *    2  EGRESS : compare enq_qdepth with the limit at egress, drop there. Never ship: doomed packets still take service time
 *    4  QSEL   : pick one of several queues whose depths were provisioned (BMv2 --priority-queues, TNA qid, PSA class_of_service)
 *    0  NONE   : no enforcement in P4 (native set_queue_depth only)
 *    3  OCC    : occupancy in a register shared by ingress and egress (v1model/BMv2 only)
 */
#include <core.p4>
#include <v1model.p4>

#ifndef VARIANT
#define VARIANT 1
#endif

typedef bit<9> port_t;
const bit<16> TYPE_IPV4 = 0x0800;
const bit<8>  PROTO_PROBE = 253;      // RFC 3692 experimental; the number the DESiRED/iRED probes use
#define MAX_HOPS 10

@controller_header("packet_in")
header packet_in_t { bit<9> ingress_port; bit<7> pad; }
@controller_header("packet_out")
header packet_out_t { bit<9> egress_port; bit<7> pad; }

header ethernet_t { bit<48> dst; bit<48> src; bit<16> etype; }
header ipv4_t {
    bit<4> version; bit<4> ihl; bit<6> dscp; bit<2> ecn; bit<16> len; bit<16> id;
    bit<3> flags; bit<13> frag; bit<8> ttl; bit<8> proto; bit<16> csum; bit<32> src; bit<32> dst;
}
header probe_t { bit<16> count; }
/* 257 bits in the authors' header rounds to a whole number of bytes only because the parts add up to 256 */
header hop_t {
    bit<31> swid; bit<9> ingress_port; bit<9> egress_port; bit<9> egress_spec;
    bit<48> ingress_ts; bit<48> egress_ts; bit<32> enq_ts;
    bit<19> enq_qdepth; bit<32> deq_timedelta; bit<19> deq_qdepth;
}

struct headers_t {
    packet_in_t  pin;  packet_out_t pout;
    ethernet_t eth; ipv4_t ipv4; probe_t probe; hop_t[MAX_HOPS] hops;
}
struct meta_t {
    bit<16> remaining;
    bit<32> color;
    bit<19> limit;
    bit<1>  counted;
}
struct depth_digest_t { bit<9> port; bit<19> qdepth; bit<32> delay; }

#define CPU_PORT 255
#if VARIANT == 3
register<bit<32>>(512) occ;
#endif

parser P(packet_in pkt, out headers_t h, inout meta_t m, inout standard_metadata_t s) {
    state start { transition select(s.ingress_port) { CPU_PORT: pout; default: eth; } }
    state pout { pkt.extract(h.pout); transition eth; }
    state eth { pkt.extract(h.eth); transition select(h.eth.etype) { TYPE_IPV4: ip; default: accept; } }
    state ip { pkt.extract(h.ipv4); transition select(h.ipv4.proto) { PROTO_PROBE: probe; default: accept; } }
    state probe { pkt.extract(h.probe); m.remaining = h.probe.count;
        transition select(h.probe.count) { 0: accept; default: hop; } }
    state hop { pkt.extract(h.hops.next); m.remaining = m.remaining - 1;
        transition select(m.remaining) { 0: accept; default: hop; } }
}
control V(inout headers_t h, inout meta_t m) { apply {} }

control I(inout headers_t h, inout meta_t m, inout standard_metadata_t s) {
    direct_counter(CounterType.packets_and_bytes) fwd_ctr;
    direct_counter(CounterType.packets) limit_ctr;
    counter(512, CounterType.packets) limit_drops;
    action drop() { mark_to_drop(s); }
    action forward(bit<48> dmac, port_t port) {
        s.egress_spec = port; h.eth.src = h.eth.dst; h.eth.dst = dmac; h.ipv4.ttl = h.ipv4.ttl - 1; fwd_ctr.count();
    }
    table ipv4_lpm {
        key = { h.ipv4.dst: lpm; }
        actions = { forward; drop; }
        default_action = drop(); size = 1024; counters = fwd_ctr;
    }
    @name("queue_limit_meter") direct_meter<bit<32>>(MeterType.packets) vq;
    action set_limit(bit<19> limit, bit<3> qid) {
        vq.read(m.color); m.limit = limit; limit_ctr.count();
#if VARIANT == 4
        s.priority = qid;
#endif
    }
    table queue_limit {
        key = { s.egress_spec: exact @name("egress_port"); }
        actions = { set_limit; @defaultonly NoAction; }
        default_action = NoAction(); size = 512; meters = vq; counters = limit_ctr;
    }
    apply {
        if (h.pout.isValid()) { s.egress_spec = h.pout.egress_port; h.pout.setInvalid(); return; }
        if (!h.ipv4.isValid()) { mark_to_drop(s); return; }
        ipv4_lpm.apply();
        queue_limit.apply();
#if VARIANT == 1
        if (m.color == 2 && !h.probe.isValid()) { limit_drops.count((bit<32>)s.egress_spec); mark_to_drop(s); }
#elif VARIANT == 3
        bit<32> o;
        @atomic {
            occ.read(o, (bit<32>)s.egress_spec);
            if (m.limit != 0 && o >= (bit<32>)m.limit) {
                limit_drops.count((bit<32>)s.egress_spec); mark_to_drop(s);
            } else { occ.write((bit<32>)s.egress_spec, o + 1); m.counted = 1; }
        }
#endif
    }
}

control E(inout headers_t h, inout meta_t m, inout standard_metadata_t s) {
    counter(512, CounterType.packets) egress_limit_drops;
    register<bit<32>>(1) dead_reg;   // only so that P4Info carries a register for the RegisterEntry test
    action int_hop(bit<31> swid) {
        h.probe.count = h.probe.count + 1;
        h.hops.push_front(1); h.hops[0].setValid();
        h.hops[0].swid = swid;
        h.hops[0].ingress_port = s.ingress_port;
        h.hops[0].egress_port = (bit<9>)s.egress_port;
        h.hops[0].egress_spec = s.egress_spec;
        h.hops[0].ingress_ts = s.ingress_global_timestamp;
        h.hops[0].egress_ts = s.egress_global_timestamp;
        h.hops[0].enq_ts = s.enq_timestamp;
        h.hops[0].enq_qdepth = s.enq_qdepth;
        h.hops[0].deq_timedelta = s.deq_timedelta;
        h.hops[0].deq_qdepth = s.deq_qdepth;
        h.ipv4.len = h.ipv4.len + 32;
    }
    table swtrace { actions = { int_hop; NoAction; } default_action = NoAction(); }
    apply {
#if VARIANT == 3
        if (m.counted == 1) {
            bit<32> o;
            @atomic { occ.read(o, (bit<32>)s.egress_port); if (o > 0) { occ.write((bit<32>)s.egress_port, o - 1); } }
        }
#elif VARIANT == 2
        if (m.limit != 0 && s.enq_qdepth >= m.limit && !h.probe.isValid()) {
            egress_limit_drops.count((bit<32>)s.egress_port); mark_to_drop(s); return;
        }
#endif
        if (h.probe.isValid()) { dead_reg.write(0, (bit<32>)s.enq_qdepth); swtrace.apply(); }
        if (s.egress_port == CPU_PORT) { h.pin.setValid(); h.pin.ingress_port = s.ingress_port; h.pin.pad = 0; }
    }
}
control C(inout headers_t h, inout meta_t m) {
    apply {
        update_checksum(h.ipv4.isValid(), { h.ipv4.version, h.ipv4.ihl, h.ipv4.dscp, h.ipv4.ecn, h.ipv4.len, h.ipv4.id,
            h.ipv4.flags, h.ipv4.frag, h.ipv4.ttl, h.ipv4.proto, h.ipv4.src, h.ipv4.dst }, h.ipv4.csum, HashAlgorithm.csum16);
    }
}
control D(packet_out pkt, in headers_t h) {
    apply { pkt.emit(h.pin); pkt.emit(h.eth); pkt.emit(h.ipv4); pkt.emit(h.probe); pkt.emit(h.hops); }
}
V1Switch(P(), V(), I(), E(), C(), D()) main;
