import Cluster
import Platform

/// What people call a node, and what they attach to it.
extension SettingsCheck {
    private static let mostBytes = SoundText.mostBytes

    mutating func nodeName() -> String? {
        guard let text = input.text(.nodeName) else { return nil }
        guard SoundText.isName(text) else {
            fault(
                .nodeName, text,
                "a name has 1 to \(Self.mostBytes) of the characters a-z, A-Z, 0-9, dot, hyphen, underscore")
            return nil
        }
        return text
    }

    /// Each `key=value`; several in one text are separated by commas, as in the environment.
    mutating func labels() -> [String: String] {
        var labels: [String: String] = [:]
        for text in (input[.label]?.texts ?? []).flatMap({ $0.split(separator: ",", omittingEmptySubsequences: false) })
        {
            let pair = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let key = String(pair[0])
            guard pair.count == 2 else {
                fault(.label, String(text), "give KEY=VALUE, like rack=3")
                continue
            }
            guard SoundText.isKey(key) else {
                fault(
                    .label, String(text),
                    "a key has 1 to \(Self.mostBytes) of the characters a-z, A-Z, 0-9, dot, hyphen, underscore, slash")
                continue
            }
            guard pair[1].utf8.count <= Self.mostBytes, pair[1].utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7F }) else {
                fault(.label, String(text), "a value has at most \(Self.mostBytes) bytes, and no control characters")
                continue
            }
            if labels.updateValue(String(pair[1]), forKey: key) != nil {
                fault(.label, String(text), "the key \(key) is given twice")
            }
        }
        if labels.count > SoundText.mostLabels {
            fault(.label, "\(labels.count) labels", "a node has at most \(SoundText.mostLabels)")
        }
        return labels
    }
}
