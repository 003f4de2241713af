import Glibc

/// libFuzzer's own main (llvm-project: compiler-rt/include/fuzzer/FuzzerInterface.h), under a name that leaves main to Swift.
@_silgen_name("LLVMFuzzerRunDriver")
func runFuzzer(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ oneInput: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

if let directory = getenv("FUZZ_SEEDS") {
    try Seeds.write(to: String(cString: directory))
    exit(0)
}
var count = CommandLine.argc
var arguments = CommandLine.unsafeArgv
exit(runFuzzer(&count, &arguments) { fuzzOneInput($0, $1) })
