// swift-tools-version: 6.2
import PackageDescription

/// Every Swift target is built in Swift 6 mode; `make` and CI add `-warnings-as-errors`.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

/// For what the simulation of leases runs through a hundred thousand times: fast in debug builds, too.
let optimised: [SwiftSetting] = [.unsafeFlags(["-O"], .when(configuration: .debug))]

let nio: [Target.Dependency] = [
    .product(name: "NIOCore", package: "swift-nio"),
    .product(name: "NIOPosix", package: "swift-nio"),
]
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")

let package = Package(
    name: "dqlite-vip",
    products: [
        .executable(name: "dqlite-vip", targets: ["dqlite-vip"]),
        .library(name: "Dqlite", targets: ["Dqlite"]),
        .library(name: "Discovery", targets: ["Discovery"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: []),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // C: headers, and the few macros and variadic functions that Swift cannot import.
        .target(name: "CDqlite", linkerSettings: [.linkedLibrary("dqlite"), .linkedLibrary("sqlite3")]),
        .target(name: "CCurl"),
        .target(name: "CResolv", linkerSettings: [.linkedLibrary("resolv")]),
        .target(name: "CLinux"),

        // What every module shares: time, errors of system calls, addresses, durable files.
        .target(name: "Platform", dependencies: ["CLinux"], swiftSettings: strict + optimised),

        // HTTP over libcurl, for discovery and the command line.
        .target(name: "Curl", dependencies: ["CCurl", "Platform"], swiftSettings: strict),

        // Libraries that are useful alone.
        .target(name: "Dqlite", dependencies: ["CDqlite", "Platform", logging] + nio, swiftSettings: strict),
        .target(
            name: "Discovery",
            dependencies: [
                "Curl", "CLinux", "CResolv", "Platform", logging, .product(name: "Crypto", package: "swift-crypto"),
            ],
            swiftSettings: strict),

        // Who may hold the lead, and until when: rules alone.
        .target(name: "Lease", dependencies: ["Platform"], swiftSettings: strict + optimised),

        // The product.
        .target(
            name: "Cluster", dependencies: ["Dqlite", "Discovery", "Lease", "Platform", logging, lifecycle] + nio,
            swiftSettings: strict),
        .target(name: "VIP", dependencies: ["CLinux", "Platform", logging, lifecycle], swiftSettings: strict),
        .target(
            name: "API",
            dependencies: [
                "Curl", "Platform", logging, lifecycle, .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
            ] + nio,
            swiftSettings: strict),
        .executableTarget(
            name: "dqlite-vip",
            dependencies: [
                "API", "Cluster", "Discovery", "Dqlite", "Lease", "Platform", "VIP", logging, lifecycle,
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),

        // For tests: a guard with a daemon that only holds addresses.
        .executableTarget(
            name: "guard-probe", dependencies: ["CLinux", "Platform", "VIP", logging], swiftSettings: strict),

        // For developers: the laboratory of network namespaces that tests, demo and benchmark share.
        .target(name: "Lab", dependencies: ["CLinux", "Platform"], swiftSettings: strict),
        .executableTarget(
            name: "dqlite-vip-lab",
            dependencies: [
                "Lab", "Platform", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: strict),

        .testTarget(name: "PlatformTests", dependencies: ["CLinux", "Platform"], swiftSettings: strict),
        .testTarget(name: "CurlTests", dependencies: ["Curl", "Lab", "Platform"], swiftSettings: strict),
        .testTarget(name: "LeaseTests", dependencies: ["Lease", "Platform"], swiftSettings: strict + optimised),
        // libraft itself behind the relays' rules: several servers in one process, whose messages and disks the tests move.
        .target(
            name: "RaftRig", path: "Tests/RaftRig", publicHeadersPath: "include",
            linkerSettings: [.linkedLibrary("raft")]),
        .testTarget(
            name: "RaftRigTests", dependencies: ["RaftRig", "Lease", "Platform"], swiftSettings: strict + optimised),
        .testTarget(name: "DqliteTests", dependencies: ["Dqlite", "Platform"] + nio, swiftSettings: strict),
        .testTarget(
            name: "DiscoveryTests", dependencies: ["Curl", "Discovery", "Lab", "Platform", logging],
            swiftSettings: strict),
        .testTarget(
            name: "ClusterTests", dependencies: ["Cluster", "Dqlite", "Discovery", "Platform", logging] + nio,
            swiftSettings: strict),
        .testTarget(
            name: "VIPTests", dependencies: ["VIP", "CLinux", "Platform", "guard-probe", logging],
            swiftSettings: strict),
        .testTarget(
            name: "APITests",
            dependencies: [
                "API", "Platform", .product(name: "HummingbirdTesting", package: "hummingbird"),
            ],
            swiftSettings: strict),
        .testTarget(name: "CommandTests", dependencies: ["CLinux", "Lease", "dqlite-vip"], swiftSettings: strict),
        .testTarget(
            name: "EndToEndTests", dependencies: ["Dqlite", "Lab", "Platform", "dqlite-vip"] + nio,
            swiftSettings: strict),
    ]
)

// `make fuzz`: the decoders of what others send under libFuzzer, in a build of their own, with coverage in what they decode.
if Context.environment["DQLITE_VIP_FUZZ"] != nil {
    let fuzzing: [SwiftSetting] = [.unsafeFlags(["-sanitize=fuzzer"])]
    for target in package.targets where ["Cluster", "Discovery", "Dqlite", "Lease", "Platform"].contains(target.name) {
        target.swiftSettings = (target.swiftSettings ?? []) + fuzzing
    }
    package.targets.append(
        .executableTarget(
            name: "fuzz", dependencies: ["CDqlite", "Cluster", "Discovery", "Dqlite", "Lease", "Platform"] + nio,
            swiftSettings: strict + fuzzing,
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer", "-use-ld=lld"])]))
}
