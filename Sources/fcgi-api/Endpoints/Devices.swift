import ChatAdapters
import ChatCore
import Crypto

/// The devices that get a user's pushes.
struct DeviceEndpoints {
    let services: EndpointServices
    let settings: PushSettings
    /// FCM registration tokens have about 160 bytes today and no promised limit.
    private static let longestToken = 4096
    /// Hexadecimal digits: Apple's have 64 and may grow.
    private static let applesTokens = 32...200
    /// Bytes of a device's name at the host's own gateway, such as a mail address or a topic.
    private static let longestName = 1024

    func add(to router: inout Router) {
        router.on("GET", "/devices", list)
        router.on("POST", "/devices", register)
        router.on("PUT", "/devices/{token}") { call throws(Refusal) in
            let (token, me) = (try Self.token(call.text("token")), try services.user(call))
            try services.limit(.changes, call)
            try check(
                services.stored { () throws(StoreError) in try services.accounts.register(device: token, of: me) })
            return .noContent
        }
        router.on("DELETE", "/devices/{token}") { call throws(Refusal) in
            let (token, me) = (try Self.token(call.text("token")), try services.user(call))
            try services.limit(.changes, call)
            try services.stored { () throws(StoreError) in try services.accounts.unregister(device: token, of: me) }
            return .noContent
        }
    }

    private func check(_ isRegistered: Bool) throws(Refusal) {
        guard isRegistered else { throw Refusal(.conflict, "too many users have this device", field: "token") }
    }

    private func list(_ call: Call) throws(Refusal) -> Response {
        let me = try services.user(call)
        try services.limit(.reads, call)
        let devices = try services.stored { () throws(StoreError) in try services.accounts.devices(of: me) }
        return .data {
            $0.map {
                $0.array("Devices", devices) { writer, entry in
                    writer.map {
                        $0.field("Device", entry.device.id)
                        $0.field("Kind", entry.device.kind.name)
                        $0.field("Silent", entry.device.takesSilent)
                        $0.field("RegisteredAt", time: entry.registeredAt)
                    }
                }
                $0.array("Kinds", settings.kinds) { $0.string($1.name) }
                $0.field("VAPIDPublicKey", settings.webPush?.keys.publicText)
            }
        }
    }

    private func register(_ call: Call) throws(Refusal) -> Response {
        let me = try services.user(call)
        let fields = try call.request.fields(limit: services.maxBody)
        let kind = try kind(fields)
        var device = try device(kind, of: me, fields)
        if try fields.given("Silent") { device.takesSilent = try fields.flag("Silent") }
        try services.limit(.changes, call)
        try check(
            services.stored { () throws(StoreError) in
                kind == .fcm
                    ? try services.accounts.register(device: device.id, of: me) : try services.accounts.register(device)
            })
        return .data(status: 201) {
            $0.map {
                $0.field("Device", device.id)
                $0.field("Kind", kind.name)
            }
        }
    }

    private func kind(_ fields: RequestFields) throws(Refusal) -> PushKind {
        var kind = fields.has("Endpoint") ? PushKind.webPush : nil
        if try fields.given("Kind") {
            kind = try fields.name("Kind", PushKind.init(name:), "is not webpush, apns, webhook or fcm")
        }
        guard let kind else { throw .invalid("Kind", "is missing") }
        for field in kind == .webPush ? ["Token"] : ["Endpoint", "Keys"] where fields.has(field) {
            throw .invalid(field, "does not belong to a device of the kind \(kind.name)")
        }
        return kind
    }

    private func device(_ kind: PushKind, of me: UUID128, _ fields: RequestFields) throws(Refusal) -> PushDevice {
        if kind == .webPush { return try subscription(of: me, fields) }
        guard let token = try fields.text("Token") else { throw .invalid("Token", "is missing") }
        switch kind {
        case .fcm: return PushDevice(user: me, id: try Self.token(token, field: "Token"), address: token)
        case .apns:
            let digits = asciiLowercased(token)
            guard Self.applesTokens.contains(digits.utf8.count), digits.utf8.count % 2 == 0,
                digits.utf8.allSatisfy({ (0x30...0x39).contains($0) || (0x61...0x66).contains($0) })
            else { throw .invalid("Token", "is not a device token of APNs in hexadecimal digits") }
            return PushDevice(user: me, id: Self.id(kind, digits), kind: kind, address: digits)
        default:
            guard let name = try fields.line("Token", limit: Self.longestName) else {
                throw .invalid("Token", "is missing")
            }
            return PushDevice(user: me, id: Self.id(kind, name), kind: kind, address: name)
        }
    }

    private func subscription(of me: UUID128, _ fields: RequestFields) throws(Refusal) -> PushDevice {
        guard let endpoint = try fields.text("Endpoint") else { throw .invalid("Endpoint", "is missing") }
        do throws(PushEndpoint.Problem) {
            _ = try PushEndpoint(
                endpoint, hosts: settings.webPush?.hosts ?? [],
                allowsLoopback: settings.webPush?.allowsLoopback ?? false)
        } catch { throw .invalid("Endpoint", error.text) }
        let keys = RequestFields(try fields.map("Keys"))
        guard let key = try keys.text("p256dh").flatMap({ SubscriptionKeys.publicKey($0) }) else {
            throw .invalid("Keys", "has no p256dh that is a point of P-256 as base64url without padding")
        }
        guard let secret = try keys.text("auth").flatMap({ SubscriptionKeys.secret($0) }) else {
            throw .invalid("Keys", "has no auth that is 16 bytes as base64url without padding")
        }
        return PushDevice(
            user: me, id: Self.id(.webPush, endpoint), kind: .webPush, address: endpoint, publicKey: key,
            secret: secret)
    }

    /// Equal for equal addresses, and reveals nothing of the address.
    private static func id(_ kind: PushKind, _ address: String) -> String {
        "\(kind.name)-" + String(decoding: base64URL(Array(SHA256.hash(data: Array(address.utf8)))), as: UTF8.self)
    }

    private static func token(_ text: String, field: String = "token") throws(Refusal) -> String {
        guard (1...longestToken).contains(text.utf8.count), text.utf8.allSatisfy(isTokenByte)
        else { throw .invalid(field, "is not an FCM registration token") }
        return text
    }
}

/// The characters of FCM's tokens.
private func isTokenByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: ":"), UInt8(ascii: "."),
        UInt8(ascii: "-"):
        true
    default: false
    }
}
