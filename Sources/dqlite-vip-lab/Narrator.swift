import Glibc

/// What the demo says, numbered step by step; with colours when somebody reads it on a terminal.
struct Narrator {
    private var step = 0
    private let isTerminal = isatty(STDOUT_FILENO) == 1

    private func styled(_ text: String, _ code: String) -> String {
        isTerminal ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text
    }

    func title(_ text: String) { say(styled(text, "1")) }

    mutating func begin(_ text: String) {
        step += 1
        say("\n" + styled("\(step). \(text)", "1"))
    }

    func command(_ text: String) { say("   " + styled("$ \(text)", "36")) }

    func output(_ text: String) {
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) { say("     \(line)") }
    }

    func good(_ text: String) { say("   " + styled("✓", "32") + " \(text)") }

    func note(_ text: String) { say("   \(text)") }

    func bad(_ text: String) { say("   " + styled("✗ \(text)", "31")) }
}
