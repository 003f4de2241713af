import Platform

/// What is known of the lead beyond the lease. It allows nothing: only a `Lease` does.
public struct LeadHint: Sendable, Hashable {
    /// This node leads, as far as it knows, also when it has no lease yet: the LAN is asked for the addresses already.
    public var leads: Bool
    /// The present holder hands the addresses over in a planned way, and knows that this node sets them before he lets go:
    /// the LAN is not asked. To be true only while that hand-over goes on.
    public var isHandedOver: Bool
    /// The same may be so, and is not certain yet: the LAN is asked, and that the holder answers is nothing to report.
    public var isBeingHandedOver: Bool
    /// The one that handed them over has died before it let go: its kernel may have them still. What was set on its word is taken
    /// off again, and then claimed as after any death.
    public var isSevered: Bool
    /// This node hands its addresses over in a planned way: the successor announces them while they are still here, and that
    /// is neither reported nor answered. What this node has it keeps meanwhile, as that is what the successor counts on, and it
    /// claims nothing. To be true only while that hand-over goes on.
    public var handsOver: Bool
    /// The last holder's process has ended, or those of several; nil when none is known to have.
    public var predecessor: Predecessor?
    /// The MACs under which the kernels of the other members may answer; nil when not all of them are known. Whoever else
    /// answers for an address that a member may have had is not that member's kernel.
    public var memberMACs: Set<HardwareAddress>?

    public init(
        leads: Bool = false, isHandedOver: Bool = false, isBeingHandedOver: Bool = false, isSevered: Bool = false,
        handsOver: Bool = false,
        predecessor: Predecessor? = nil, memberMACs: Set<HardwareAddress>? = nil
    ) {
        self.leads = leads
        self.isHandedOver = isHandedOver
        self.isBeingHandedOver = isBeingHandedOver
        self.isSevered = isSevered
        self.handsOver = handsOver
        self.predecessor = predecessor
        self.memberMACs = memberMACs
    }
}

/// A holder whose process has ended, and who may have left the address to his kernel.
public struct Predecessor: Sendable, Hashable {
    /// When it ended, or a little later: until then the kernel's lifetime of the address may have been renewed.
    public var endedAt: BootInstant
    /// Its host has answered questions that were asked then or later; nil while it has answered none.
    public var answeredSince: BootInstant?

    public init(endedAt: BootInstant, answeredSince: BootInstant?) {
        self.endedAt = endedAt
        self.answeredSince = answeredSince
    }
}

/// Gives what is known of the lead at this moment. It is asked as often as a `LeaseSource`, and like that only reads.
public typealias LeadHintSource = @Sendable () -> LeadHint
