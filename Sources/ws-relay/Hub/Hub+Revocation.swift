import ChatCore

/// Closes open sockets whose tokens were revoked.
extension Hub {
    /// Called twice a second. Only the store is asked: Redis could lose a notification.
    func askRevocations() { _ = lookups.ask(.revocations(since: tokens.since)) }

    func revoke(_ news: [Revocation]) {
        for revocation in news {
            switch revocation.subject {
            case .user(let id, let before):
                guard let user = users.index(id) else { continue }
                users.forEachConnection(of: user, connections) { slot in
                    if connections[slot].issued < before { revoke(slot) }
                }
            case .token(let id):
                let hash = fnv1a64(id.utf8)
                connections.forEach {
                    if connections[$0].tokenID == hash, connections[$0].user != noIndex { revoke($0) }
                }
            }
        }
    }

    private func revoke(_ slot: UInt32) { close(slot, .tokenExpired, "the token was revoked") }
}
