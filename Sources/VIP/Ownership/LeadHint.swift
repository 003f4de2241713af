/// What is known of the lead beyond the lease. It allows nothing: only a `Lease` does.
public struct LeadHint: Sendable, Hashable {
    /// This node leads, as far as it knows, also when it has no lease yet: the LAN is asked for the addresses already.
    public var leads: Bool
    /// The present holder hands the addresses over in a planned way, and knows that this node sets them before he lets go:
    /// the LAN is not asked. To be true only while that hand-over goes on.
    public var isHandedOver: Bool
    /// This node hands its addresses over in a planned way: the successor announces them while they are still here, and that
    /// is neither reported nor answered. To be true only while that hand-over goes on.
    public var handsOver: Bool

    public init(leads: Bool = false, isHandedOver: Bool = false, handsOver: Bool = false) {
        self.leads = leads
        self.isHandedOver = isHandedOver
        self.handsOver = handsOver
    }
}

/// Gives what is known of the lead at this moment. It is asked as often as a `LeaseSource`, and like that only reads.
public typealias LeadHintSource = @Sendable () -> LeadHint
