// swift-tools-version: 6.0
import PackageDescription

// The load client of `make bench`. It has no dependencies, so that it builds in seconds and costs little CPU beside the
// measured programs.
let package = Package(
    name: "benchmarks",
    targets: [
        .systemLibrary(name: "CLoad"),
        .executableTarget(name: "bench-client", dependencies: ["CLoad"]),
    ]
)
