// swift-tools-version: 6.0
import PackageDescription

// The load client of `make bench`. No dependencies, so that it builds in seconds and costs next to nothing beside what
// it measures.
let package = Package(
    name: "benchmarks",
    targets: [
        .systemLibrary(name: "CLoad"),
        .executableTarget(name: "chat-load", dependencies: ["CLoad"]),
    ]
)
