/// Ids of rooms and messages as an import names them: a UUID is itself, and any other text of 1 to 128 bytes stands for the
/// UUIDv5 of its bytes in the installation's namespace, as for users. The kind is a part of the name, so that room `5`,
/// message `5` and user `5` are three ids.
public enum ImportID {
    public static func room(_ text: String) throws(HostUser.Problem) -> UUID128 { try id("room:", text) }
    public static func message(_ text: String) throws(HostUser.Problem) -> UUID128 { try id("message:", text) }

    private static func id(_ kind: String, _ text: String) throws(HostUser.Problem) -> UUID128 {
        if let id = UUID128(text) { return id }
        // The same rule for all ids of the host.
        try HostUser.check(text)
        return .v5(Array(kind.utf8) + Array(text.utf8), in: HostUser.namespace)
    }
}
