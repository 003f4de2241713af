import HTTPTypes
import Hummingbird

/// The entity tag of the virtual addresses (RFC 9110, 8.8.3): the whole list, so that two lists never have the same one.
struct AddressesTag: Equatable {
    var addresses: [String]

    var headers: HTTPFields { [.eTag: "\"\(addresses.joined(separator: ","))\""] }

    /// What `If-Match` (RFC 9110, 13.1.1) asks for: one of these lists; nil when any will do.
    ///
    /// - Throws: `APIError` 400 for what is no list of entity tags.
    static func wanted(by request: Request) throws -> [[String]]? {
        let fields = request.headers[values: .ifMatch]
        let text = fields.joined(separator: ",")
        var rest = text.trimmed
        guard !fields.isEmpty, rest != "*" else { return nil }
        var lists: [[String]] = []
        repeat {
            // A weak one never matches in this comparison.
            let isWeak = rest.hasPrefix("W/")
            if isWeak { rest = rest.dropFirst(2) }
            let parts = rest.split(separator: "\"", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3, parts[0].isEmpty else { throw malformed(text) }
            if !isWeak { lists.append(parts[1].split(separator: ",").map(String.init)) }
            rest = parts[2].trimmed
            guard rest.isEmpty || rest.first == "," else { throw malformed(text) }
            rest = rest.drop { $0 == "," || $0.isWhitespace }
        } while !rest.isEmpty
        return lists
    }

    private static func malformed(_ text: String) -> APIError {
        APIError(
            .badRequest,
            "If-Match: \(text): give the ETag that GET answered with, in its quotes, or * for whatever is there")
    }
}

extension StringProtocol {
    fileprivate var trimmed: Substring {
        let start = drop { $0.isWhitespace }
        let end = start.lastIndex { !$0.isWhitespace }
        return end.map { Substring(start[...$0]) } ?? ""
    }
}
