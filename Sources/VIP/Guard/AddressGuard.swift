import Platform

/// Who removes an address when this process cannot: the daemon's view of the guard.
///
/// All calls return at once, and may come from any thread.
public protocol AddressGuard: Sendable {
    /// False once the guard is gone. Nothing may be set any more then; see `GuardClient`.
    var isPresent: Bool { get }

    /// Lets the guard remove the address whenever the lease in `slot` is over. To be called each time before the address is
    /// set, while the lease is valid: see `LeaseCell`.
    ///
    /// - Throws: `SystemError` when the guard did not get it: the address is not guarded, and must not be held.
    func hold(_ address: VirtualAddress, interface: UInt32, slot: LeaseSlot) throws(SystemError)

    /// The address is deleted: the guard may forget it.
    ///
    /// - Throws: `SystemError` when the guard did not get it; it then looks in vain for what is not there.
    func release(_ address: VirtualAddress, interface: UInt32) throws(SystemError)
}
