import CLinux
import Platform

/// One message that the kernel sent, decoded. Any bytes decode: what is not understood says so.
struct NetlinkMessage: Hashable, Sendable {
    /// Names the request that it answers; 0 in an event.
    var sequence: UInt32
    /// The netlink port of the asker; 0 in an event that the kernel itself caused.
    var port: UInt32
    /// The dump was disturbed by a change and may miss entries: NLM_F_DUMP_INTR.
    var isInterruptedDump: Bool
    var content: Content

    enum Content: Hashable, Sendable {
        case newAddress(InterfaceAddress)
        case deletedAddress(InterfaceAddress)
        case newLink(LinkState)
        case deletedLink(index: UInt32)
        case neighbour(Neighbour)
        /// NLMSG_ERROR with code 0: the request was carried out.
        case acknowledgement
        /// NLMSG_ERROR: a positive errno, and the kernel's explanation where it gave one.
        case failure(errno: Int32, text: String?)
        /// The end of a dump; a positive errno when it ended early.
        case done(errno: Int32, text: String?)
        /// NLMSG_NOOP, a type we have no use for, or a report on a family or aspect that is not ours.
        case other(type: UInt16)
        /// Too short, or an attribute overruns the message.
        case malformed(type: UInt16)
    }

    /// Splits a datagram into its messages. Bytes that are no whole message end it as one `.malformed`.
    static func decode(_ datagram: some Collection<UInt8>) -> [NetlinkMessage] {
        var messages: [NetlinkMessage] = []
        var rest = NetlinkReader(ArraySlice(Array(datagram)))
        while rest.count > 0 {
            let type: UInt16 = rest.integer(at: 4) ?? 0
            let flags: UInt16 = rest.integer(at: 6) ?? 0
            var message = NetlinkMessage(
                sequence: rest.integer(at: 8) ?? 0, port: rest.integer(at: 12) ?? 0,
                isInterruptedDump: flags & UInt16(NLM_F_DUMP_INTR) != 0, content: .malformed(type: type))
            guard let length: UInt32 = rest.integer(at: 0), length >= 16, Int(length) <= rest.count else {
                return messages + [message]
            }
            let payload = NetlinkReader(rest.bytes.prefix(Int(length)).dropFirst(16))
            message.content = content(of: payload, type: type, flags: flags) ?? .malformed(type: type)
            messages.append(message)
            rest = NetlinkReader(rest.from((Int(length) + 3) & ~3))
        }
        return messages
    }

    private static func content(of payload: NetlinkReader, type: UInt16, flags: UInt16) -> Content? {
        switch Int32(type) {
        case Int32(RTM_NEWADDR): address(payload, otherwise: type) { .newAddress($0) }
        case Int32(RTM_DELADDR): address(payload, otherwise: type) { .deletedAddress($0) }
        case Int32(RTM_NEWLINK): link(payload, otherwise: type) { .newLink($0) }
        case Int32(RTM_DELLINK): link(payload, otherwise: type) { .deletedLink(index: $0.index) }
        case Int32(RTM_NEWNEIGH): neighbour(payload, otherwise: type)
        case NLMSG_ERROR: failure(payload, flags: flags)
        case NLMSG_DONE: done(payload, flags: flags)
        default: .other(type: type)
        }
    }

    /// `struct ifaddrmsg` and its attributes: rtnetlink(7), linux/if_addr.h.
    private static func address(
        _ payload: NetlinkReader, otherwise type: UInt16, as wrap: (InterfaceAddress) -> Content
    ) -> Content? {
        guard let family: UInt8 = payload.integer(at: 0), let prefixLength: UInt8 = payload.integer(at: 1),
            let flags: UInt8 = payload.integer(at: 2), let scope: UInt8 = payload.integer(at: 3),
            let index: UInt32 = payload.integer(at: 4), let attributes = payload.attributes(from: 8)
        else { return nil }
        guard [AF_INET, AF_INET6].contains(Int32(family)) else { return .other(type: type) }
        guard let bytes = attributes[UInt16(IFA_LOCAL)] ?? attributes[UInt16(IFA_ADDRESS)],
            let address = IPAddress(bytes: bytes), address.family.addressFamily == Int32(family),
            prefixLength <= address.family.bits
        else { return nil }
        func integer<T: FixedWidthInteger>(_ attribute: Int, at offset: Int = 0, as type: T.Type = T.self) -> T? {
            attributes[UInt16(attribute)].flatMap { NetlinkReader($0).integer(at: offset) }
        }
        return wrap(
            InterfaceAddress(
                interfaceIndex: index, address: address, prefixLength: prefixLength,
                flags: integer(IFA_FLAGS) ?? UInt32(flags), scope: scope, proto: integer(Int(IFA_PROTO)),
                validLifetime: integer(IFA_CACHEINFO, at: 4) ?? .max,
                preferredLifetime: integer(IFA_CACHEINFO) ?? .max))
    }

    /// `struct ifinfomsg` and its attributes: rtnetlink(7), linux/if_link.h.
    private static func link(
        _ payload: NetlinkReader, otherwise type: UInt16, as wrap: (LinkState) -> Content
    ) -> Content? {
        guard let family: UInt8 = payload.integer(at: 0), let hardwareType: UInt16 = payload.integer(at: 2),
            let index: Int32 = payload.integer(at: 4), let flags: UInt32 = payload.integer(at: 8),
            let attributes = payload.attributes(from: 16), index > 0
        else { return nil }
        // A bridge reports its ports as links of AF_BRIDGE: a port that leaves the bridge is a "deleted link" that lives on.
        // A wireless driver reports scans and associations as links that carry IFLA_WIRELESS and no address.
        guard Int32(family) == AF_UNSPEC, attributes[UInt16(IFLA_WIRELESS)] == nil else { return .other(type: type) }
        guard let name = attributes[UInt16(IFLA_IFNAME)] else { return nil }
        return wrap(
            LinkState(
                index: UInt32(index), name: text(name), hardwareType: hardwareType,
                hardwareAddress: Array(attributes[UInt16(IFLA_ADDRESS)] ?? []), flags: flags))
    }

    /// `struct ndmsg` and its attributes: rtnetlink(7), linux/neighbour.h.
    private static func neighbour(_ payload: NetlinkReader, otherwise type: UInt16) -> Content? {
        guard let family: UInt8 = payload.integer(at: 0), let index: Int32 = payload.integer(at: 4),
            let state: UInt16 = payload.integer(at: 8), let attributes = payload.attributes(from: 12), index > 0
        else { return nil }
        guard [AF_INET, AF_INET6].contains(Int32(family)) else { return .other(type: type) }
        guard let bytes = attributes[UInt16(NDA_DST)], let address = IPAddress(bytes: bytes),
            address.family.addressFamily == Int32(family)
        else { return nil }
        return .neighbour(
            Neighbour(
                interfaceIndex: UInt32(index), address: address,
                hardwareAddress: attributes[UInt16(NDA_LLADDR)].flatMap { HardwareAddress($0) }, state: state))
    }

    /// `struct nlmsgerr`: a negative errno, the header of the request, perhaps its body, perhaps attributes.
    private static func failure(_ payload: NetlinkReader, flags: UInt16) -> Content? {
        guard let code: Int32 = payload.integer(at: 0), let requestLength: UInt32 = payload.integer(at: 4) else {
            return nil
        }
        if code == 0 { return .acknowledgement }
        let echoed = flags & UInt16(NLM_F_CAPPED) != 0 ? 16 : max(16, (Int(requestLength) + 3) & ~3)
        return .failure(errno: positive(code), text: explanation(payload, at: 4 + echoed, flags: flags))
    }

    private static func done(_ payload: NetlinkReader, flags: UInt16) -> Content? {
        // The code is there in every answer of the kernel; NLMSG_DONE without one is allowed by netlink(7).
        let code: Int32 = payload.integer(at: 0) ?? 0
        return .done(errno: positive(code), text: explanation(payload, at: 4, flags: flags))
    }

    /// NLMSGERR_ATTR_MSG, when the socket asked for NETLINK_EXT_ACK.
    private static func explanation(_ payload: NetlinkReader, at offset: Int, flags: UInt16) -> String? {
        guard flags & UInt16(NLM_F_ACK_TLVS) != 0 else { return nil }
        return payload.attributes(from: offset)?[UInt16(NLMSGERR_ATTR_MSG.rawValue)].map(text)
    }

    /// The kernel sends errno values negated; the lowest integer has no positive counterpart.
    private static func positive(_ code: Int32) -> Int32 { code == .min ? .max : abs(code) }

    private static func text(_ bytes: ArraySlice<UInt8>) -> String {
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }
}
