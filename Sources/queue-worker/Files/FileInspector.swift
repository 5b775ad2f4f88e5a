import ChatCore
import Logging

/// Takes complete files, one of each owner in turn, inspects them, and tells their rooms.
final class FileInspector {
    private static let batch = 10
    private static let answerTimeout = Duration.seconds(10)
    private let jobs: any FileJobs
    /// The new details of a message's file; nil: nothing changed.
    private let describe: (Message) throws(Refusal) -> FileInfo?
    private let commands: any CommandQueue
    private let log: Logger
    /// The owner of the last file.
    private var owner = UUID128.zero

    init(
        jobs: any FileJobs, commands: any CommandQueue, log: Logger,
        describe: @escaping (Message) throws(Refusal) -> FileInfo?
    ) {
        self.jobs = jobs
        self.describe = describe
        self.commands = commands
        self.log = log
    }

    /// - Returns: the number of inspected files.
    func work(while mayGoOn: () -> Bool) throws -> Int {
        var count = 0
        var messages = try jobs.next(after: owner, limit: Self.batch)
        if messages.isEmpty, owner != .zero {
            owner = .zero
            messages = try jobs.next(after: owner, limit: Self.batch)
        }
        for message in messages where mayGoOn() {
            owner = message.senderID
            do throws(Refusal) {
                if message.deletedAt == nil, let file = try describe(message) { try tell(message, file) }
            } catch {
                // After a failure of a server the file is tried again, since the server will come back. A file that is
                // at fault itself would fail forever.
                guard error.retryAfter == nil else { throw error }
                log.warning(
                    "a file could not be inspected and stays unchanged",
                    metadata: ["message": "\(message.id)", "error": "\(error.text)"])
            }
            try jobs.done(message.id)
            count += 1
        }
        return count
    }

    private func tell(_ message: Message, _ file: FileInfo) throws(Refusal) {
        let now = systemClock()
        let command = Command(
            id: .v7(at: now), room: message.roomID, actor: message.senderID, acceptedAt: now,
            action: .describeFile(message: message.id, file: file))
        guard case .answered(let frame) = try commands.submit(command, timeout: Self.answerTimeout) else {
            return  // Safe in its queue.
        }
        guard frame["Success"]?.bool == true else { throw Refusal(answer: frame["Error"]?.string ?? "") }
    }
}
