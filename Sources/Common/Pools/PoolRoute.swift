/// An endpoint, as a pool's `routes` name it: by its operation id in docs/openapi.yaml, or by its family.
public struct PoolRoute: Sendable, Equatable {
    /// The endpoints that one location of nginx has; the pool of the same name serves those that no other pool claims.
    public enum Family: String, CaseIterable, Sendable { case rooms, messages, search, uploads, account }

    public let name: String
    public let family: Family
    public let method: String
    /// Below the API's prefix, such as "/rooms/{room}/messages".
    public let path: String

    init(_ name: String, _ family: Family, _ method: String, _ path: String) {
        (self.name, self.family, self.method, self.path) = (name, family, method, path)
    }

    /// A regular expression for nginx over "METHOD prefix address". HEAD is handled like GET, and a tus client may send
    /// POST instead of PATCH.
    public var expression: String {
        let words = pieces(of: path, at: UInt8(ascii: "/")).map { word in
            word.utf8.first == UInt8(ascii: "{") ? "[^/?]+" : word.replacing(".", with: "\\.")
        }
        let isTus = path.utf8.starts(with: "/files/tus/".utf8)
        let methods = method == "GET" ? "(?:GET|HEAD)" : method == "PATCH" && isTus ? "(?:PATCH|POST)" : method
        return "\(methods) ([^ ]*) \\1/\(words.joined(separator: "/"))/?(?:\\?|$)"
    }

    /// Whether this route matches the path, with any method.
    func matches(_ path: String) -> Bool {
        let (ours, theirs) = (pieces(of: self.path, at: UInt8(ascii: "/")), pieces(of: path, at: UInt8(ascii: "/")))
        return ours.count == theirs.count
            && zip(ours, theirs).allSatisfy { $0.utf8.first == UInt8(ascii: "{") || areSameBytes($0, $1) }
    }

    /// All routes except the relay's, which has no pool here. A test compares them with docs/openapi.yaml.
    public static let all = [
        PoolRoute("uploadChunk", .uploads, "POST", "/files/{message}/upload"),
        PoolRoute("uploadState", .uploads, "GET", "/files/{message}/upload"),
        PoolRoute("abortUpload", .uploads, "DELETE", "/files/{message}/upload"),
        PoolRoute("presignChunks", .uploads, "POST", "/files/{message}/presign"),
        PoolRoute("completeUpload", .uploads, "POST", "/files/{message}/complete"),
        PoolRoute("download", .uploads, "GET", "/files/{message}"),
        PoolRoute("abortFile", .uploads, "DELETE", "/files/{message}"),
        PoolRoute("thumbnail", .uploads, "GET", "/files/{message}/thumbnail"),
        PoolRoute("tusOptions", .uploads, "OPTIONS", "/files/tus"),
        PoolRoute("tusCreate", .uploads, "POST", "/files/tus"),
        PoolRoute("tusOffset", .uploads, "GET", "/files/tus/{message}"),
        PoolRoute("tusAppend", .uploads, "PATCH", "/files/tus/{message}"),
        PoolRoute("tusAbort", .uploads, "DELETE", "/files/tus/{message}"),
        PoolRoute("sendFiles", .uploads, "POST", "/rooms/{room}/files"),
        PoolRoute("searchRoom", .search, "GET", "/rooms/{room}/search"),
        PoolRoute("searchAll", .search, "GET", "/search"),
        PoolRoute("history", .messages, "GET", "/rooms/{room}/messages"),
        PoolRoute("send", .messages, "POST", "/rooms/{room}/messages"),
        PoolRoute("listPins", .messages, "GET", "/rooms/{room}/pins"),
        PoolRoute("markSeen", .messages, "POST", "/rooms/{room}/seen"),
        PoolRoute("getMessage", .messages, "GET", "/messages/{message}"),
        PoolRoute("editMessage", .messages, "PATCH", "/messages/{message}"),
        PoolRoute("deleteMessage", .messages, "DELETE", "/messages/{message}"),
        PoolRoute("listEdits", .messages, "GET", "/messages/{message}/edits"),
        PoolRoute("listReceipts", .messages, "GET", "/messages/{message}/receipts"),
        PoolRoute("pin", .messages, "PUT", "/messages/{message}/pin"),
        PoolRoute("unpin", .messages, "DELETE", "/messages/{message}/pin"),
        PoolRoute("addReaction", .messages, "PUT", "/messages/{message}/reactions/{emoji}"),
        PoolRoute("removeReaction", .messages, "DELETE", "/messages/{message}/reactions/{emoji}"),
        PoolRoute("reportMessage", .messages, "PUT", "/messages/{message}/report"),
        PoolRoute("silenceThread", .messages, "PUT", "/messages/{message}/silence"),
        PoolRoute("unsilenceThread", .messages, "DELETE", "/messages/{message}/silence"),
        PoolRoute("beginSession", .account, "POST", "/session"),
        PoolRoute("endSession", .account, "DELETE", "/session"),
        PoolRoute("createTicket", .account, "POST", "/ws-ticket"),
        PoolRoute("getAccount", .account, "GET", "/account"),
        PoolRoute("changeAccount", .account, "PATCH", "/account"),
        PoolRoute("listDevices", .account, "GET", "/devices"),
        PoolRoute("addDevice", .account, "POST", "/devices"),
        PoolRoute("registerDevice", .account, "PUT", "/devices/{device}"),
        PoolRoute("unregisterDevice", .account, "DELETE", "/devices/{device}"),
        PoolRoute("health", .account, "GET", "/healthz"),
        PoolRoute("ready", .account, "GET", "/readyz"),
        PoolRoute("metrics", .account, "GET", "/metrics"),
        PoolRoute("openapi", .account, "GET", "/openapi.yaml"),
        PoolRoute("asyncapi", .account, "GET", "/asyncapi.yaml"),
        PoolRoute("docs", .account, "GET", "/docs"),
        PoolRoute("createRoom", .rooms, "POST", "/rooms"),
        PoolRoute("listRooms", .rooms, "GET", "/rooms"),
        PoolRoute("joinRoom", .rooms, "POST", "/rooms/join"),
        PoolRoute("getRoom", .rooms, "GET", "/rooms/{room}"),
        PoolRoute("changeRoom", .rooms, "PATCH", "/rooms/{room}"),
        PoolRoute("deleteRoom", .rooms, "DELETE", "/rooms/{room}"),
        PoolRoute("listMembers", .rooms, "GET", "/rooms/{room}/members"),
        PoolRoute("addMembers", .rooms, "POST", "/rooms/{room}/members"),
        PoolRoute("changeMember", .rooms, "PATCH", "/rooms/{room}/members/{user}"),
        PoolRoute("removeMember", .rooms, "DELETE", "/rooms/{room}/members/{user}"),
        PoolRoute("listInvitations", .rooms, "GET", "/rooms/{room}/invitations"),
        PoolRoute("createInvitation", .rooms, "POST", "/rooms/{room}/invitations"),
        PoolRoute("revokeInvitation", .rooms, "DELETE", "/rooms/{room}/invitations/{invitation}"),
        PoolRoute("blockUser", .rooms, "PUT", "/users/{user}/block"),
        PoolRoute("unblockUser", .rooms, "DELETE", "/users/{user}/block"),
        PoolRoute("reportUser", .rooms, "PUT", "/users/{user}/report"),
        PoolRoute("listReports", .rooms, "GET", "/rooms/{room}/reports"),
        PoolRoute("decideReport", .rooms, "PATCH", "/rooms/{room}/reports/{report}"),
        PoolRoute("listUsers", .rooms, "GET", "/users"),
        PoolRoute("describeUser", .rooms, "PUT", "/users/{user}"),
        PoolRoute("patchUser", .rooms, "PATCH", "/users/{user}"),
        PoolRoute("getPresence", .rooms, "GET", "/users/{user}/presence"),
        PoolRoute("listUploads", .rooms, "GET", "/uploads"),
        PoolRoute("silenceRoom", .rooms, "PUT", "/rooms/{room}/silence"),
        PoolRoute("unsilenceRoom", .rooms, "DELETE", "/rooms/{room}/silence"),
        PoolRoute("adminCreateRoom", .rooms, "POST", "/admin/rooms"),
        PoolRoute("adminDeleteRoom", .rooms, "DELETE", "/admin/rooms/{room}"),
        PoolRoute("adminAddMembers", .rooms, "POST", "/admin/rooms/{room}/members"),
        PoolRoute("adminRemoveMember", .rooms, "DELETE", "/admin/rooms/{room}/members/{user}"),
        PoolRoute("adminAnnounce", .rooms, "POST", "/admin/rooms/{room}/messages"),
        PoolRoute("adminPurge", .rooms, "POST", "/admin/rooms/{room}/purge"),
        PoolRoute("adminExport", .rooms, "GET", "/admin/rooms/{room}/export"),
        PoolRoute("adminListReports", .rooms, "GET", "/admin/reports"),
        PoolRoute("adminDecideReport", .rooms, "PATCH", "/admin/reports/{report}"),
        PoolRoute("adminAudit", .rooms, "GET", "/admin/audit"),
        PoolRoute("adminErase", .rooms, "DELETE", "/admin/users/{user}"),
    ]

    public static let byName = Dictionary(uniqueKeysWithValues: all.map { ($0.name, $0) })
}
