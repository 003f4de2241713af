import Platform

/// What the guard needs to know of the composition.
public struct GuardConfiguration: Sendable {
    /// The daemon's arguments, the program name first: those of this very process.
    public var arguments: [String]
    /// The daemon's environment; `GuardEnvironment` is added.
    public var environment: [String: String]
    /// The daemon's executable: this very file, also when another one has taken its name by now.
    public var executable = "/proc/self/exe"
    /// The list of addresses that an earlier run may have left: `<data-dir>/addresses`. See `AddressesFile`.
    public var addressesFile: StoredFile?
    /// Descriptors that the daemon gets beside the channel, such as the lock of the data directory, which so stays held as
    /// long as one of the two lives. The daemon finds their numbers in `GuardEnvironment.inherited`.
    public var inheritedDescriptors: [Int32] = []
    /// As `ps` shows it; at most 15 bytes.
    public var processName = "dqvip-guard"
    public var policy = GuardSupervisor.Policy()
    /// Takes one line for the operator. It is called after the addresses are dealt with, and only when standard error has
    /// room for 4 KiB.
    public var log: @Sendable (String) -> Void

    public init(arguments: [String], environment: [String: String], log: @escaping @Sendable (String) -> Void) {
        self.arguments = arguments
        self.environment = environment
        self.log = log
    }
}

/// The environment variables by which the guard tells the daemon what it inherits.
public enum GuardEnvironment {
    /// The number of the channel's descriptor. Its absence says that this process is to be the guard.
    public static let channel = "DQLITE_VIP_GUARD_FD"
    /// The number of the lifeline's descriptor; see `GuardLifeline`.
    public static let lifeline = "DQLITE_VIP_LIFELINE_FD"
    /// The number of the descriptor of the `LeasePage`.
    public static let leases = "DQLITE_VIP_LEASES_FD"
    /// The numbers of the inherited descriptors, in the order of the configuration, with commas between.
    public static let inherited = "DQLITE_VIP_LOCK_FD"

    /// The daemon's end of the channel. A dying process closes its descriptors in order (exit_files in the kernel), and
    /// this one before every socket to a peer: so the guard learns of the death first.
    public static let channelDescriptor: Int32 = 3
    static let lifelineDescriptor: Int32 = 4
    static let leasesDescriptor: Int32 = 5

    /// The descriptors of the configuration that this process inherited; empty in a process without a guard.
    public static func inheritedDescriptors(_ environment: [String: String]) -> [Int32] {
        (environment[inherited] ?? "").split(separator: ",").compactMap { Int32($0) }
    }
}
