// swift-tools-version:6.2
import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

let argumentParser = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")
let log = Target.Dependency.product(name: "Logging", package: "swift-log")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")

/// Tests are not optimised, also beside optimised programs: that would be a fifth of the time of `make test`.
let tests: [SwiftSetting] = [.unsafeFlags(["-Onone"])]

/// The parts that all three programs share.
let program: [Target.Dependency] = ["ChatCore", "ChatProcess", "ChatAdapters", "ChatCommands", argumentParser, log]

let package = Package(
    name: "chat",
    // Exact versions: the tested versions are built until somebody raises one here. `deploy/package/versions` lists
    // outdated ones, and fails when one is not exact.
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser.git", exact: "1.8.2"),
        .package(url: "https://github.com/apple/swift-log.git", exact: "1.16.2"),
        // Without its trait JSON, which alone brings Foundation and ICU: 44 MB per program when it is linked
        // statically.
        .package(url: "https://github.com/apple/swift-configuration.git", exact: "1.4.0", traits: []),
        .package(url: "https://github.com/apple/swift-crypto.git", exact: "4.5.2"),
        .package(url: "https://github.com/vapor/jwt-kit.git", exact: "5.7.1"),
    ],
    targets: [
        // One module for each C library; exactly one Swift file imports each (`make lint` checks it).
        .systemLibrary(name: "CPQ", path: "Sources/Common/C/CPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .systemLibrary(name: "CHiredis", path: "Sources/Common/C/CHiredis", providers: [.apt(["libhiredis-dev"])]),
        .systemLibrary(
            name: "CRabbitMQ", path: "Sources/Common/C/CRabbitMQ", pkgConfig: "librabbitmq",
            providers: [.apt(["librabbitmq-dev"])]),
        .systemLibrary(
            name: "CCurl", path: "Sources/Common/C/CCurl", pkgConfig: "libcurl",
            providers: [.apt(["libcurl4-openssl-dev"])]),
        .systemLibrary(
            name: "CFCGI", path: "Sources/Common/C/CFCGI", pkgConfig: "fcgi", providers: [.apt(["libfcgi-dev"])]),
        .systemLibrary(
            name: "COpenSSL", path: "Sources/Common/C/COpenSSL", pkgConfig: "openssl",
            providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CMagic", path: "Sources/Common/C/CMagic", providers: [.apt(["libmagic-dev"])]),
        .systemLibrary(
            name: "CZlib", path: "Sources/Common/C/CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CLinux", path: "Sources/Common/C/CLinux"),
        .systemLibrary(name: "CLoad", path: "Sources/Common/C/CLoad"),

        // Values, rules, ports, the wire and the settings: no C library, no adapter.
        .target(
            name: "ChatCore",
            dependencies: [log, crypto, .product(name: "Configuration", package: "swift-configuration")],
            path: "Sources/Common", exclude: ["Adapters", "C", "Commands", "Process"], swiftSettings: settings),
        // The master and workers, shared by the three programs.
        .target(
            name: "ChatProcess", dependencies: ["ChatCore", "CLinux", log], path: "Sources/Common/Process",
            swiftSettings: settings),
        // The commands shared by the three programs: serve, status, scale.
        .target(
            name: "ChatCommands", dependencies: ["ChatCore", "ChatProcess", "ChatAdapters", argumentParser, log],
            path: "Sources/Common/Commands", swiftSettings: settings),
        .target(
            name: "ChatAdapters",
            dependencies: [
                "ChatCore", "CPQ", "CHiredis", "CRabbitMQ", "CCurl", "CMagic", "COpenSSL", "CZlib", log, crypto,
                .product(name: "JWTKit", package: "jwt-kit"),
            ],
            path: "Sources/Common/Adapters", swiftSettings: settings),

        .executableTarget(
            name: "fcgi-api", dependencies: program + ["CFCGI", "CLinux", crypto], swiftSettings: settings),
        .executableTarget(
            name: "ws-relay", dependencies: program + ["CLinux", crypto], swiftSettings: settings),
        .executableTarget(name: "queue-worker", dependencies: program + ["CLinux"], swiftSettings: settings),
        .executableTarget(
            name: "chat-load",
            dependencies: ["ChatCore", "ChatAdapters", "ChatProcess", "CLoad", argumentParser, crypto],
            swiftSettings: settings),

        .target(
            name: "TestSupport", dependencies: ["ChatCore", "ChatAdapters", log], path: "Tests/Support",
            swiftSettings: tests),
        .testTarget(
            name: "CommonTests", dependencies: ["ChatCore", "ChatAdapters", "TestSupport", crypto, log],
            swiftSettings: tests),
        .testTarget(
            name: "ProcessTests",
            dependencies: ["ChatProcess", "ChatCommands", "ChatCore", "CLinux", "TestSupport", log],
            swiftSettings: tests),
        .testTarget(
            name: "FcgiApiTests",
            dependencies: ["fcgi-api", "ChatCore", "ChatAdapters", "ChatProcess", "TestSupport", log],
            swiftSettings: tests),
        .testTarget(
            name: "WsRelayTests",
            dependencies: ["ws-relay", "ChatCore", "ChatAdapters", "ChatProcess", "TestSupport"],
            swiftSettings: tests),
        .testTarget(name: "ChatLoadTests", dependencies: ["chat-load", "ChatCore"], swiftSettings: tests),
        .testTarget(
            name: "QueueWorkerTests",
            dependencies: ["queue-worker", "ChatCore", "ChatAdapters", "ChatProcess", "TestSupport"],
            swiftSettings: tests),
    ]
)
