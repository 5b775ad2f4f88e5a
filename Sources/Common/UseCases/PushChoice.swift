/// Chooses the message of a room for each member's push: the newest one that the member wants.
struct PushChoice {
    /// The newest first.
    private let messages: [PushMessage]
    /// Unix milliseconds: older messages belonged to earlier jobs. The newest message always belongs to this job.
    private let since: Int64
    private let silenced: [SilencedMessage]

    /// Nil: there is no message to push, or no member wants one.
    ///
    /// In most rooms no member has choices of their own: then only the newest message is read.
    init?(
        room: UUID128, recipients: [PushRecipient], since: Int64, at now: Int64,
        messages read: (Int) throws -> [PushMessage], _ audience: any PushAudience, maxMessages: Int
    ) throws {
        guard recipients.contains(where: { $0.wish != .nothing }) else { return nil }
        let silencers = recipients.filter { $0.silencesThreads && $0.wish != .nothing }.map(\.user)
        let isChoosy = !silencers.isEmpty || recipients.contains { $0.wish == .mentions }
        messages = try read(isChoosy ? maxMessages : 1)
        guard !messages.isEmpty else { return nil }
        self.since = since
        silenced =
            silencers.isEmpty
            ? [] : try audience.silencedThreads(of: silencers, in: room, among: messages.map(\.id), at: now)
    }

    /// - Parameter seen: the Seq up to which the user has read, or got a push.
    func message(for recipient: PushRecipient, after seen: Int64) -> PushMessage? {
        if recipient.wish == .nothing { return nil }
        let isPlain = recipient.wish == .everything && !recipient.silencesThreads
        for (index, message) in messages.enumerated() {
            guard message.seq > seen, index == 0 || !isPlain && message.createdAt >= since else { return nil }
            if message.sender != recipient.user, wants(recipient, message) { return message }
        }
        return nil
    }

    private func wants(_ recipient: PushRecipient, _ message: PushMessage) -> Bool {
        let silence = silenced.first { $0.user == recipient.user && $0.message == message.id }
        if silence?.exceptMentions == false { return false }
        return silence == nil && recipient.wish == .everything || message.mentions(recipient.user)
    }
}
