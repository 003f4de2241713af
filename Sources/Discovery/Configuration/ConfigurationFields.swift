/// The fields of a `--disco-config` object while a backend reads them: each read says the field is known and notes what
/// is wrong with it; `unknown` are those that nobody asked for.
///
/// Names are compared without regard to case, and `-` counts as `_`: Go's decoder, which reads such files for rqlite,
/// takes any case, and etcd's own fields have hyphens.
public struct ConfigurationFields: Sendable {
    /// Each names the field, its value unless that may be secret, and the remedy.
    public private(set) var faults: [String] = []
    /// Fields that are understood but have no effect here.
    public private(set) var ignored: [String] = []
    private var values: [String: (name: String, value: JSONValue)] = [:]
    private var asked: Set<String> = []
    private let path: String

    /// `path` is where the object stands, such as "tls_config"; empty for the outermost.
    public init(_ object: [String: JSONValue], path: String = "") {
        self.path = path
        for (name, value) in object.sorted(by: { $0.key < $1.key }) {
            let normal = Self.normal(name)
            if let other = values[normal] {
                faults.append("the field \"\(full(name))\" is there twice, also as \"\(full(other.name))\": keep one")
            }
            values[normal] = (name, value)
        }
    }

    private static func normal(_ name: String) -> String { String(name.lowercased().map { $0 == "-" ? "_" : $0 }) }

    private func full(_ name: String) -> String { path.isEmpty ? name : "\(path).\(name)" }

    /// Notes a fault of a field.
    public mutating func fault(_ name: String, _ reason: String) {
        faults.append("the field \"\(full(values[Self.normal(name)]?.name ?? name))\": \(reason)")
    }

    /// The value of a field; nil when it is not there or null.
    private mutating func take(_ name: String) -> JSONValue? {
        let normal = Self.normal(name)
        asked.insert(normal)
        guard let value = values[normal]?.value, value != .null else { return nil }
        return value
    }

    private mutating func wrong(_ name: String, _ value: JSONValue, _ wanted: String) {
        fault(name, "it is \(value.kind): give \(wanted)")
    }

    /// A text; "" counts as not given, as in Go's configurations.
    public mutating func text(_ name: String) -> String? {
        guard let value = take(name) else { return nil }
        guard case .string(let text) = value else {
            wrong(name, value, "a text in quotes")
            return nil
        }
        return text.isEmpty ? nil : text
    }

    /// A text for which "" is a fault: it is what an unset variable leaves behind, and must not switch a protection off.
    public mutating func filledText(_ name: String) -> String? {
        if values[Self.normal(name)]?.value == .string("") {
            asked.insert(Self.normal(name))
            fault(name, "it is empty: give a value, or leave the field out")
            return nil
        }
        return text(name)
    }

    /// A whole number; a text of digits counts, too, because an expanded variable may stand in quotes.
    public mutating func integer(_ name: String, _ range: ClosedRange<Int64>) -> Int64? {
        guard let value = take(name) else { return nil }
        let number: Int64?
        switch value {
        case .integer(let integer): number = integer
        case .string(let text): number = Int64(text)
        default: number = nil
        }
        guard let number, range.contains(number) else {
            fault(name, "give a whole number from \(range.lowerBound) to \(range.upperBound)")
            return nil
        }
        return number
    }

    public mutating func flag(_ name: String) -> Bool? {
        guard let value = take(name) else { return nil }
        switch value {
        case .bool(let flag): return flag
        case .string("true"): return true
        case .string("false"): return false
        default:
            wrong(name, value, "true or false")
            return nil
        }
    }

    /// A list of texts; one text counts as a list of one.
    public mutating func texts(_ name: String) -> [String]? {
        guard let value = take(name) else { return nil }
        if case .string(let text) = value { return text.isEmpty ? nil : [text] }
        guard case .array(let elements) = value else {
            wrong(name, value, "a list of texts")
            return nil
        }
        var texts: [String] = []
        for element in elements {
            guard case .string(let text) = element else {
                fault(name, "the list has \(element.kind) in it: give texts in quotes")
                return nil
            }
            texts.append(text)
        }
        return texts
    }

    /// A time: nanoseconds as a number, as Go writes its durations, or a text such as "1.5s", "200ms", "2m".
    public mutating func duration(_ name: String, _ range: ClosedRange<Duration>) -> Duration? {
        guard let value = take(name) else { return nil }
        let duration: Duration?
        switch value {
        case .integer(let nanoseconds): duration = .nanoseconds(nanoseconds)
        case .string(let text): duration = Self.duration(text)
        default: duration = nil
        }
        guard let duration, range.contains(duration) else {
            fault(
                name,
                "give a time from \(range.lowerBound) to \(range.upperBound), as a text like \"5s\" or in nanoseconds")
            return nil
        }
        return duration
    }

    private static func duration(_ text: String) -> Duration? {
        let units: [(String, Double)] = [("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9), ("s", 1), ("m", 60), ("h", 3600)]
        guard let unit = units.first(where: { text.hasSuffix($0.0) }),
            let number = Double(text.dropLast(unit.0.count)), number.isFinite, number >= 0, number < 1e9
        else { return nil }
        return .seconds(number * unit.1)
    }

    /// Reads a nested object; its faults and unknown fields become this one's.
    public mutating func object<Value>(
        _ name: String, _ read: (inout ConfigurationFields) -> Value
    ) -> Value? {
        guard let value = take(name) else { return nil }
        guard case .object(let object) = value else {
            wrong(name, value, "an object in braces")
            return nil
        }
        var fields = ConfigurationFields(object, path: full(name))
        let result = read(&fields)
        fields.finish()
        faults += fields.faults
        ignored += fields.ignored
        return result
    }

    /// Takes note of fields that other programs know and that mean nothing here.
    public mutating func ignore(_ names: String...) {
        for name in names where take(name) != nil { ignored.append(full(values[Self.normal(name)]?.name ?? name)) }
    }

    /// Notes every field that nobody asked for as a fault. Called once, after all reads.
    public mutating func finish() {
        let known = asked.sorted().joined(separator: ", ")
        for (normal, entry) in values.sorted(by: { $0.key < $1.key }) where !asked.contains(normal) {
            faults.append("the field \"\(full(entry.name))\" is not known: the fields here are \(known)")
        }
    }
}
