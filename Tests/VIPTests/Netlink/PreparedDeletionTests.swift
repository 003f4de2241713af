import CLinux
import Glibc
import Platform
import Testing

@testable import VIP

@Suite("PreparedDeletion on the real kernel")
struct PreparedDeletionTests {
    private let vip: VirtualAddress
    init() throws { vip = try VirtualAddress(parsing: "192.0.2.10/24") }

    @Test("it removes the address, again and again, and answers the kernel's errno")
    func removal() async throws {
        try await withVirtualEthernet(addresses: "192.0.2.1/24", "192.0.2.10/16") { [vip] namespace in
            try await namespace.session { session, link throws in
                let descriptor = try PreparedDeletion.openSocket()
                defer { close(descriptor) }
                let deletion = PreparedDeletion(vip, interface: link)
                for _ in 0..<100 {
                    try session.set(vip, interface: link)
                    #expect(deletion.send(on: descriptor) == 0)
                    #expect(deletion.send(on: descriptor) == EADDRNOTAVAIL)
                }
                #expect(try session.v4(link).sorted() == ["192.0.2.1/24", "192.0.2.10/16"])
                #expect(PreparedDeletion(vip, interface: 4711).send(on: descriptor) == ENODEV)
            }
        }
    }

    @Test("it removes an IPv6 address")
    func six() async throws {
        try await withVirtualEthernet { namespace in
            let address = try VirtualAddress(parsing: "fd00::10/64")
            try await namespace.session { session, link throws in
                let descriptor = try PreparedDeletion.openSocket()
                defer { close(descriptor) }
                try session.set(address, interface: link, validLifetime: 60)
                #expect(PreparedDeletion(address, interface: link).send(on: descriptor) == 0)
                #expect(try !session.addresses(interface: link).contains { $0.matches(address) })
            }
        }
    }

    @Test("an answer that nobody read is not taken for its own")
    func staleAnswer() async throws {
        try await withVirtualEthernet { [vip] namespace in
            try await namespace.session { session, link throws in
                let descriptor = try PreparedDeletion.openSocket()
                defer { close(descriptor) }
                try session.set(vip, interface: link)
                let stale = NetlinkRequest.deleteAddress(vip, interface: 4711).encode(sequence: 1)
                #expect(write(descriptor, stale, stale.count) == stale.count)
                #expect(PreparedDeletion(vip, interface: link).send(on: descriptor) == 0)
            }
        }
    }

    @Test("without CAP_NET_ADMIN it answers EPERM, on a closed descriptor EBADF")
    func refusals() async throws {
        try await withVirtualEthernet { [vip] namespace in
            try await namespace.session { session, link throws in
                try session.set(vip, interface: link)
                let deletion = PreparedDeletion(vip, interface: link)
                #expect(deletion.send(on: -1) == EBADF)
                let descriptor = try PreparedDeletion.openSocket()
                defer { close(descriptor) }
                guard clinux_drop_thread_capabilities() == 0 else { throw SystemError.last("drop capabilities") }
                #expect(deletion.send(on: descriptor) == EPERM)
                #expect(try session.v4(link) == ["192.0.2.10/24"])
            }
        }
    }
}
