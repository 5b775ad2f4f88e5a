/// The limits of a user's data outside of rooms.
public struct AccountSettings: Sendable {
    /// The users whom a user finds by name.
    public var search: UserSearch
    /// Devices that receive pushes; a further one replaces the oldest registration.
    public var devices: Int
    /// Users that one user may block.
    public var blocks: Int

    init(_ values: inout SettingsReader) {
        search =
            UserSearch(rawValue: values.choice("USER_SEARCH", UserSearch.allCases.map(\.rawValue), default: "rooms"))
            ?? .rooms
        devices = values.number("DEVICES_PER_USER", default: 20, in: 1...1000)
        blocks = values.number("BLOCKS_PER_USER", default: 5000, in: 1...100_000)
    }
}
