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
let system = Target.Dependency.product(name: "SystemPackage", package: "swift-system")

/// What all three programs are made of.
let program: [Target.Dependency] = ["ChatCore", "ChatProcess", "ChatAdapters", "ChatCommands", argumentParser, log]

let package = Package(
    name: "chat",
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser.git", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log.git", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-configuration.git", from: "1.4.0"),
        .package(url: "https://github.com/apple/swift-crypto.git", from: "4.5.0"),
        .package(url: "https://github.com/apple/swift-system.git", from: "1.6.0"),
        .package(url: "https://github.com/vapor/jwt-kit.git", from: "5.7.0"),
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

        // Values, rules, ports, the wire and the settings: no C library, no adapter.
        .target(
            name: "ChatCore",
            dependencies: [log, crypto, .product(name: "Configuration", package: "swift-configuration"), system],
            path: "Sources/Common", exclude: ["Adapters", "C", "Commands", "Process"], swiftSettings: settings),
        // The master-and-workers shape that the three programs share.
        .target(
            name: "ChatProcess", dependencies: ["CLinux", log], path: "Sources/Common/Process",
            swiftSettings: settings),
        // The commands that they share: serve, status, scale.
        .target(
            name: "ChatCommands", dependencies: ["ChatCore", "ChatProcess", "ChatAdapters", argumentParser, log],
            path: "Sources/Common/Commands", swiftSettings: settings),
        .target(
            name: "ChatAdapters",
            dependencies: [
                "ChatCore", "CPQ", "CHiredis", "CRabbitMQ", "CCurl", "CMagic", "COpenSSL", log, crypto,
                .product(name: "JWTKit", package: "jwt-kit"),
            ],
            path: "Sources/Common/Adapters", swiftSettings: settings),

        .executableTarget(
            name: "fcgi-api", dependencies: program + ["CFCGI", "CLinux", crypto], swiftSettings: settings),
        .executableTarget(
            name: "ws-relay", dependencies: program + ["CLinux", "CZlib", crypto], swiftSettings: settings),
        .executableTarget(name: "queue-worker", dependencies: program + ["CLinux"], swiftSettings: settings),

        .target(name: "TestSupport", dependencies: ["ChatCore", "ChatAdapters"], path: "Tests/Support"),
        .testTarget(name: "CommonTests", dependencies: ["ChatCore", "ChatAdapters", "TestSupport", crypto, log]),
        .testTarget(name: "ProcessTests", dependencies: ["ChatProcess"]),
        .testTarget(name: "FcgiApiTests", dependencies: ["fcgi-api", "ChatCore", "TestSupport"]),
        .testTarget(name: "WsRelayTests", dependencies: ["ws-relay", "ChatCore", "TestSupport"]),
        .testTarget(
            name: "QueueWorkerTests",
            dependencies: ["queue-worker", "ChatCore", "ChatAdapters", "ChatProcess", "TestSupport"]),
    ]
)
