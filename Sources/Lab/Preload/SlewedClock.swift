import Glibc
import Platform

/// Lets the clock of one node's processes run too fast or too slow, as a time service does that slews: chrony corrects by up
/// to 8.3 % (`maxslewrate`, chrony.conf(5)), and CLOCK_MONOTONIC and CLOCK_BOOTTIME follow, with all that waits by them;
/// CLOCK_MONOTONIC_RAW does not. Wall time stays right here.
///
/// A preloaded library converts what is read and what is waited for: see `source`. Waits that began before the rate changed
/// end as they would have.
struct SlewedClock: Sendable {
    private let library: PreloadLibrary
    private let file: String

    /// How a clock runs that was right until now: in nanoseconds, and in millionths.
    struct Course: Equatable {
        /// The kernel's time at which the rate changes, and what the node reads then.
        var real: Int64
        var own: Int64
        /// By how much it is too fast before and after, in millionths.
        var before: Int64
        var after: Int64

        /// What the node reads at a time of the kernel.
        func reading(at time: Int64) -> Int64 {
            let rate = time < real ? before : after
            return own + (time - real) + (time - real) / 1_000_000 * rate + (time - real) % 1_000_000 * rate / 1_000_000
        }

        /// Another rate from a time of the kernel on, without a step.
        func changed(at time: Int64, to rate: Int64) -> Course {
            Course(real: time, own: reading(at: time), before: time < real ? before : after, after: rate)
        }
    }

    /// Compiles the library into `directory`; the clock is right at first.
    init(directory: String) throws {
        library = try PreloadLibrary("slewed", source: Self.source, directory: directory)
        file = "\(directory)/slewed"
        let courses = Self.clocks.map { Self.now(of: $0) }.map { Course(real: $0, own: $0, before: 0, after: 0) }
        try write(courses)
    }

    /// What the product must be started with.
    var environment: [String: String] { PreloadLibrary.merge(library.environment, ["DVLAB_SLEWED": file]) }

    /// Some milliseconds from now the clock runs so much too fast, also for processes that run; negative: too slow.
    ///
    /// `rate`: in millionths, -900,000...900,000.
    func set(rate: Int64) throws {
        // A little later, so that all have read it by then, and no clock ever goes back.
        let courses = zip(Self.clocks, try read()).map { clock, course in
            course.changed(at: Self.now(of: clock) + 20_000_000, to: rate)
        }
        try write(courses)
    }

    /// In the order of the file.
    private static let clocks = [CLOCK_MONOTONIC, CLOCK_BOOTTIME]

    private static func now(of clock: clockid_t) -> Int64 {
        var time = timespec()
        clock_gettime(clock, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    // MARK: The file: a number that is odd while the rest changes, and four for each clock

    private func words() throws -> [Int64] {
        let bytes = try DurableFile.read(file, limit: 4096) ?? []
        return stride(from: 0, to: bytes.count - 7, by: 8).map { at in
            bytes[at..<(at + 8)].reversed().reduce(Int64(0)) { $0 << 8 | Int64($1) }
        }
    }

    private func read() throws -> [Course] {
        let words = try words()
        guard words.count == 1 + 4 * Self.clocks.count else { throw LabError("\(file) is no course of clocks") }
        return Self.clocks.indices.map { index in
            let at = 1 + 4 * index
            return Course(real: words[at], own: words[at + 1], before: words[at + 2], after: words[at + 3])
        }
    }

    private func write(_ courses: [Course]) throws {
        let descriptor = try retryingOnInterrupt("open", file) { open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0o644) }
        defer { close(descriptor) }
        func put(_ words: [Int64], at offset: Int) throws {
            let count = try retryingOnInterrupt("write", file) {
                words.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, off_t(offset)) }
            }
            guard count == words.count * 8 else {
                throw LabError("\(file): \(count) bytes written of \(words.count * 8)")
            }
        }
        let number = try words().first ?? 0
        try put([number | 1], at: 0)
        try put(courses.flatMap { [$0.real, $0.own, $0.before, $0.after] }, at: 8)
        try put([(number | 1) + 1], at: 0)
    }
}
