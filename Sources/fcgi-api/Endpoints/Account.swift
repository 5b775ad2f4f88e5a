import ChatCore

/// What users keep for themselves.
struct AccountEndpoints {
    let doors: Doors
    /// FCM registration tokens have about 160 bytes today and no promised limit.
    private static let longestDeviceToken = 4096

    func add(to router: inout Router) {
        router.on("PUT", "/devices/{token}") { call throws(Refusal) in
            let (token, me) = (try device(call), try doors.user(call))
            try doors.stored { () throws(StoreError) in try doors.accounts.register(device: token, of: me) }
            return .noContent
        }
        router.on("DELETE", "/devices/{token}") { call throws(Refusal) in
            let (token, me) = (try device(call), try doors.user(call))
            try doors.stored { () throws(StoreError) in try doors.accounts.unregister(device: token, of: me) }
            return .noContent
        }
    }

    private func device(_ call: Call) throws(Refusal) -> String {
        let token = call.text("token")
        guard token.utf8.count <= AccountEndpoints.longestDeviceToken, token.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
        else { throw .invalid("token", "is not an FCM registration token") }
        return token
    }
}
