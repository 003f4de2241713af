/// A text as a shell takes it for one word.
func shellQuoted(_ text: String) -> String {
    let isPlain = text.utf8.allSatisfy { ConsulDecoding.isPlain($0) || "/._:,=+@%".utf8.contains($0) }
    return isPlain && !text.isEmpty
        ? text : "'" + text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
}
