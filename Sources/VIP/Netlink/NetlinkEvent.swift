/// What `NetlinkMonitor` reports.
public enum NetlinkEvent: Hashable, Sendable {
    /// An address was set, or its lifetime or flags changed: each refresh of a virtual address reports it again.
    case addressAdded(InterfaceAddress)
    /// An address is gone: deleted by somebody, expired, or removed with its primary address or its interface.
    case addressRemoved(InterfaceAddress)
    /// An interface appeared, went up or down, won or lost carrier, or changed its name or MAC.
    case linkChanged(LinkState)
    /// The interface with this index is gone.
    case linkRemoved(index: UInt32)
    /// Events were lost: read addresses and links anew.
    case overrun
}
