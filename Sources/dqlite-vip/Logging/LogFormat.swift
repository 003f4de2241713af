/// How log lines are written.
enum LogFormat: String, Hashable, Sendable, CaseIterable {
    /// One line for a person, or for journald.
    case text
    /// One JSON object a line.
    case json
}
