import Crypto
import FoundationEssentials

/// Why a datagram under our disco key is not believed.
enum MulticastMismatch: Hashable, Sendable {
    /// It is authenticated, and not with our secret; or it was changed on its way.
    case otherSecret
    /// It is not authenticated, and ours are.
    case noSecretThere
    /// It is authenticated, and we have no secret.
    case noSecretHere
}

/// Makes and opens datagrams: under one disco key, with one secret or none.
///
/// The secret never authenticates as it is, but as a key that is derived from it for this purpose alone, so that a secret
/// that is also used elsewhere gives nothing away here.
struct MulticastSeal: Sendable {
    enum Opened: Hashable, Sendable {
        case message(MulticastMessage)
        /// Another protocol, another version of it, or another disco key.
        case foreign
        case mismatch(MulticastMismatch, MulticastHeader.Kind)
        case malformed(String)
    }

    let keyDigest: [UInt8]
    private let secret: SymmetricKey?

    private static let purpose = Array("dqlite-vip multicast discovery 1\0".utf8)

    /// `key` is the `--disco-key`. It is no secret: its digest in the datagrams only tells clusters apart.
    init(key: String, secret: SymmetricKey?) {
        keyDigest = Array(SHA256.hash(data: Self.purpose + Array(key.utf8)).prefix(MulticastDatagram.digestLength))
        self.secret = secret.map {
            SymmetricKey(data: HMAC<SHA256>.authenticationCode(for: Self.purpose, using: $0))
        }
    }

    var isAuthenticating: Bool { secret != nil }

    /// The datagram; nil when the message has a text that none may have.
    func close(_ message: MulticastMessage) -> [UInt8]? {
        guard
            let bytes = MulticastDatagram.encode(message, keyDigest: keyDigest, isAuthenticated: secret != nil)
        else { return nil }
        guard let secret else { return bytes }
        return bytes + Array(HMAC<SHA256>.authenticationCode(for: bytes, using: secret))
    }

    /// What an unauthenticated sender wrote is not looked at any further than the header.
    func open(_ bytes: [UInt8]) -> Opened {
        do throws(MulticastDatagramFault) {
            let header = try MulticastDatagram.header(of: bytes)
            guard header.keyDigest == keyDigest else { return .foreign }
            switch (header.isAuthenticated, secret) {
            case (true, nil): return .mismatch(.noSecretHere, header.kind)
            case (false, .some): return .mismatch(.noSecretThere, header.kind)
            case (true, let secret?):
                let end = bytes.count - MulticastDatagram.codeLength
                // Compares in constant time.
                guard
                    HMAC<SHA256>.isValidAuthenticationCode(
                        Array(bytes[end...]), authenticating: bytes[..<end], using: secret)
                else { return .mismatch(.otherSecret, header.kind) }
            case (false, nil): break
            }
            return .message(try MulticastDatagram.decode(bytes).message)
        } catch {
            switch error {
            case .foreign: return .foreign
            case .malformed(let reason): return .malformed(reason)
            }
        }
    }
}
