/// What is known of the lead beyond the lease. It allows nothing: only a `Lease` does.
public struct LeadHint: Sendable, Hashable {
    /// This node leads, as far as it knows, also when it has no lease yet: the LAN is asked for the addresses already.
    public var leads: Bool
    /// The present holder hands the addresses over in a planned way, and knows that this node sets them before he lets go:
    /// the LAN is not asked. To be true only while that hand-over goes on.
    public var isHandedOver: Bool

    public init(leads: Bool = false, isHandedOver: Bool = false) {
        self.leads = leads
        self.isHandedOver = isHandedOver
    }
}

/// Gives what is known of the lead at this moment. It is asked as often as a `LeaseSource`, and like that only reads.
public typealias LeadHintSource = @Sendable () -> LeadHint
