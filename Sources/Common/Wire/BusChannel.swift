/// The names of the channels from the writer to the relays.
public enum BusChannel {
    public static func room(_ room: UUID128) -> String { "room:\(room)" }
    public static func user(_ user: UUID128) -> String { "user:\(user)" }
    public static func relay(_ relay: UInt64) -> String { "relay:\(relay)" }
}
