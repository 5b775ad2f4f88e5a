public import ChatCore

extension [String: String]: SettingsSource {
    public func value(_ name: String) -> String? { self[name] }
}

extension Settings {
    /// Settings with these values, and with those that have no default.
    public init(testing values: [String: String]) throws(SettingsError) {
        let needed = ["DATABASE_URL": "x", "JWT_SECRET": String(repeating: "x", count: 32)]
        try self.init(needed.merging(values) { _, own in own })
    }

    /// The same, for values that are certainly good.
    public static func test(_ values: [String: String] = [:]) -> Settings { try! Settings(testing: values) }
}
