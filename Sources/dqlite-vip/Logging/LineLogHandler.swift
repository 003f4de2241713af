import Logging
import Platform

/// The one log handler of the product: turns events into lines and gives them to a sink.
struct LineLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var metadataProvider: Logger.MetadataProvider?
    var logLevel: Logger.Level
    private let label: String
    private let format: LogFormat
    private let prefix: LogLine.Prefix
    private let sink: any LogSink
    private let now: @Sendable () -> WallTime

    /// `now` gives the time of an event; tests bring their own.
    init(
        label: String, level: Logger.Level, format: LogFormat, prefix: LogLine.Prefix, sink: any LogSink,
        now: @escaping @Sendable () -> WallTime = { .now }
    ) {
        self.label = label
        self.logLevel = level
        self.format = format
        self.prefix = prefix
        self.sink = sink
        self.now = now
    }

    subscript(metadataKey key: String) -> Logger.MetadataValue? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var all = metadata
        // The nearer to the statement, the stronger: handler, provider, statement.
        if let provided = metadataProvider?.get() { all.merge(provided) { $1 } }
        if let own = event.metadata { all.merge(own) { $1 } }
        if let error = event.error, all["error"] == nil { all["error"] = "\(error)" }
        let line = LogLine(
            time: now(), level: event.level, label: label, message: event.message.description, metadata: all)
        sink.write(format == .json ? line.json() : line.text(prefix))
    }
}
