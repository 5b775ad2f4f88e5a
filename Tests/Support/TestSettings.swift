public import ChatCore

extension [String: String]: SettingsSource {
    public func value(_ name: String) -> String? { self[name] }
}

extension Settings {
    /// Settings with these values; the others are the defaults.
    public static func test(_ values: [String: String] = [:]) -> Settings {
        let needed = ["DATABASE_URL": "x", "JWT_SECRET": String(repeating: "x", count: 32)]
        return try! Settings(needed.merging(values) { _, own in own })
    }
}
