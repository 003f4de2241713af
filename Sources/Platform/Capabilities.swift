import CLinux

/// The sets of capabilities(7) of a thread, and what they are to be.
///
/// A value without system calls but `read`; `ProcessRights` carries out.
public struct Capabilities: Equatable, Sendable {
    /// A capability; the numbers are those of linux/capability.h.
    public enum Name: Int32, CaseIterable, Sendable {
        /// Ports below 1024, where an operator wants one.
        case netBindService = 10
        /// The addresses themselves; also larger buffers, and `promote_secondaries`.
        case netAdmin = 12
        /// ARP and neighbour discovery on packet sockets.
        case netRaw = 13
        /// Real-time threads and negative nice values; see `ThreadPriority`.
        case sysNice = 23

        public var bit: UInt64 { 1 << UInt64(rawValue) }
    }

    public var effective: UInt64
    public var permitted: UInt64
    public var inheritable: UInt64
    public var bounding: UInt64
    public var ambient: UInt64

    public init(effective: UInt64, permitted: UInt64, inheritable: UInt64, bounding: UInt64, ambient: UInt64) {
        self.effective = effective
        self.permitted = permitted
        self.inheritable = inheritable
        self.bounding = bounding
        self.ambient = ambient
    }

    /// What guard and daemon need.
    ///
    /// Not in it, although root has them: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, with which a broken daemon could read and
    /// change the files of every user, by handle also those outside of its container (open_by_handle_at(2)); the data
    /// directory is its own user's anyway. CAP_KILL: the guard kills a child of its own user. CAP_SYS_RESOURCE: the last
    /// blocks of a disk are not for a log. CAP_WAKE_ALARM: no timer wakes up a suspended machine.
    public static let needed = Name.allCases.reduce(0) { $0 | $1.bit }

    /// What is to be left: of each set what is needed, and never more than there was.
    ///
    /// - Parameter startsPrograms: of what is started the inheritable and the ambient set say what it may have. The guard starts
    ///   the daemon with them, where its user is not root; the daemon starts nothing.
    public func reduced(startsPrograms: Bool) -> Capabilities {
        let inherited = startsPrograms ? Self.needed : 0
        return Capabilities(
            effective: effective & Self.needed, permitted: permitted & Self.needed,
            inheritable: inheritable & inherited, bounding: bounding & Self.needed, ambient: ambient & inherited)
    }

    /// The numbers in the bounding set that are not in the other's.
    func bounds(beyond other: Capabilities) -> [Int32] {
        (0..<64).filter { (bounding & ~other.bounding) >> UInt64($0) & 1 == 1 }
    }

    /// Those of the calling thread.
    ///
    /// - Throws: `SystemError` when the kernel does not tell.
    public static func current() throws(SystemError) -> Capabilities {
        var sets = clinux_capabilities()
        try retryingOnInterrupt("read the capabilities of this process") { clinux_read_capabilities(&sets) }
        return Capabilities(
            effective: sets.effective, permitted: sets.permitted, inheritable: sets.inheritable,
            bounding: sets.bounding, ambient: sets.ambient)
    }
}
