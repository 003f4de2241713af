import CLinux

/// malloc of this process.
enum MemoryAllocator {
    /// Has it keep no more than it needs: libraft reads segments of up to 16 MiB on several threads, and each thread's arena
    /// would keep what it once needed.
    ///
    /// To be called before there are threads.
    static func keepSmall() { _ = clinux_keep_memory_small() }
}
