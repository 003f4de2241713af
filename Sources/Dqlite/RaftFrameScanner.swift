/// Follows the raft frames in a byte stream, however it is cut, without keeping the bytes.
///
/// It starts behind the Connect message (`RaftPreface`). It allocates nothing. At the first thing it does not
/// understand it is lost, and says so: the stream can still be passed on, only no longer read.
public struct RaftFrameScanner: Sendable {
    /// Larger than any frame that libraft sends; a length beyond it means that we misread the stream.
    private static let payloadLimit: UInt64 = 1 << 40
    private static let entryLimit: UInt64 = 1 << 24

    private enum Step {
        case kind
        case headerLength
        /// The fixed words of the header, by index.
        case field(Int)
        /// Two words per entry; the number of entries left.
        case entryTerm(UInt64)
        case entryLength(UInt64)
        case snapshotLength
        /// Words of the header that carry nothing.
        case ignored(UInt64)
    }

    /// True once the stream could not be understood; nothing is reported from then on.
    public private(set) var isLost = false
    /// How many bytes of an unfinished frame have been seen; 0 between frames.
    public private(set) var bytesIntoFrame: UInt64 = 0
    /// The kind of the unfinished frame; nil between frames, and until its first word is complete.
    public private(set) var currentKind: RaftFrame.Kind?

    private var step = Step.kind
    /// Bytes to pass over before the next word: a configuration inside a header, or a payload.
    private var skipping: UInt64 = 0
    private var isInPayload = false
    private var word: UInt64 = 0
    private var wordBytes: UInt64 = 0

    private var headerLength: UInt64 = 0
    private var payloadLength: UInt64 = 0
    // The first five words of the header, and the term of the last entry.
    private var fields: (UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0)
    private var lastEntryTerm: UInt64 = 0

    public init() {}

    /// Takes in the next bytes of the stream, and calls `body` for each frame that ends in them.
    public mutating func consume(_ bytes: UnsafeRawBufferPointer, _ body: (RaftFrame) -> Void) {
        var position = 0
        while position < bytes.count, !isLost {
            let available = UInt64(bytes.count - position)
            if skipping > 0 {
                let count = min(skipping, available)
                skipping -= count
                bytesIntoFrame += count
                position += Int(count)
                if skipping == 0, isInPayload { finish(position, body) }
                continue
            }
            if wordBytes == 0, available >= 8 {
                word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self))
                position += 8
                bytesIntoFrame += 8
            } else {
                word |= UInt64(bytes[position]) << (wordBytes * 8)
                wordBytes += 1
                position += 1
                bytesIntoFrame += 1
                if wordBytes < 8 { continue }
            }
            let value = word
            word = 0
            wordBytes = 0
            take(value)
            if isAtEndOfHeader { enterPayload(position, body) }
        }
    }

    private var isAtEndOfHeader: Bool {
        if case .ignored(0) = step { skipping == 0 && !isLost } else { false }
    }

    private mutating func take(_ value: UInt64) {
        switch step {
        case .kind:
            // Newer readers ignore the upper 48 bits, but no version sets them.
            guard let kind = RaftFrame.Kind(rawValue: value) else { return lose() }
            currentKind = kind
            step = .headerLength
        case .headerLength:
            guard let kind = currentKind, Self.isPlausible(value, for: kind) else { return lose() }
            headerLength = value
            payloadLength = 0
            lastEntryTerm = 0
            fields = (0, 0, 0, 0, 0)
            step = .field(0)
        case .field(let index):
            switch index {
            case 0: fields.0 = value
            case 1: fields.1 = value
            case 2: fields.2 = value
            case 3: fields.3 = value
            default: fields.4 = value
            }
            afterField(index)
        case .entryTerm(let left):
            lastEntryTerm = value
            step = .entryLength(left)
        case .entryLength(let left):
            // u8 type, three bytes of garbage, u32 length. Sixteen million times 4 GB is far below 2^64.
            payloadLength += value >> 32
            step = left > 1 ? .entryTerm(left - 1) : .ignored(1)
        case .snapshotLength:
            guard value <= Self.payloadLimit else { return lose() }
            payloadLength = value
            // 56 + C with a word of garbage at the end; the newest versions leave it out.
            step = .ignored(headerLength - 48 == fields.4 ? 0 : 1)
        case .ignored(let left):
            step = .ignored(left - 1)
        }
    }

    /// The fixed words of each kind, and what follows them.
    private mutating func afterField(_ index: Int) {
        guard let kind = currentKind else { return lose() }
        let wordsInHeader = Int(headerLength / 8)
        switch kind {
        case .appendEntries:
            guard index == 4 else { return step = .field(index + 1) }
            let count = fields.4
            guard count <= Self.entryLimit, headerLength == 48 + 16 * count else { return lose() }
            lastEntryTerm = fields.2
            step = count > 0 ? .entryTerm(count) : .ignored(1)
        case .installSnapshot:
            guard index == 4 else { return step = .field(index + 1) }
            let configuration = fields.4
            guard configuration <= headerLength,
                headerLength - configuration == 56 || headerLength - configuration == 48
            else { return lose() }
            skipping = configuration
            step = .snapshotLength
        case .appendEntriesResult, .requestVote, .requestVoteResult, .timeoutNow:
            step = index + 1 < wordsInHeader ? .field(index + 1) : .ignored(0)
        }
    }

    private mutating func enterPayload(_ position: Int, _ body: (RaftFrame) -> Void) {
        skipping = payloadLength
        isInPayload = true
        if skipping == 0 { finish(position, body) }
    }

    private mutating func finish(_ position: Int, _ body: (RaftFrame) -> Void) {
        let frame = content.map {
            RaftFrame(term: fields.0, content: $0, length: bytesIntoFrame, end: position)
        }
        currentKind = nil
        bytesIntoFrame = 0
        isInPayload = false
        step = .kind
        if let frame { body(frame) }
    }

    private var content: RaftFrame.Content? {
        switch currentKind {
        case nil: nil
        case .appendEntries:
            .appendEntries(
                previousIndex: fields.1, previousTerm: fields.2, commit: fields.3, count: fields.4,
                lastEntryTerm: lastEntryTerm)
        case .appendEntriesResult: .appendEntriesResult(rejected: fields.1, lastIndex: fields.2)
        case .requestVote:
            .requestVote(
                candidate: fields.1, lastIndex: fields.2, lastTerm: fields.3,
                flags: RaftFrame.VoteFlags(rawValue: fields.4))
        case .requestVoteResult:
            .requestVoteResult(isGranted: fields.1 != 0, flags: RaftFrame.VoteFlags(rawValue: fields.2))
        case .installSnapshot: .installSnapshot(lastIndex: fields.1, lastTerm: fields.2)
        case .timeoutNow: .timeoutNow(lastIndex: fields.1, lastTerm: fields.2)
        }
    }

    private mutating func lose() {
        isLost = true
    }

    private static func isPlausible(_ headerLength: UInt64, for kind: RaftFrame.Kind) -> Bool {
        switch kind {
        case .appendEntries: headerLength >= 48 && headerLength % 16 == 0
        case .appendEntriesResult: headerLength == 24 || headerLength == 32
        case .requestVote: headerLength == 40 || headerLength == 32
        case .requestVoteResult: headerLength == 24 || headerLength == 16
        case .installSnapshot: headerLength >= 48 && headerLength <= payloadLimit
        case .timeoutNow: headerLength == 24
        }
    }
}
