import ChatCore
import Logging

/// Takes one complete file after the other, one of each owner in turn, looks into it, and tells its room.
final class FileLooker {
    private static let batch = 10
    private static let answerTimeout = 10_000
    private let jobs: any FileJobs
    private let describe: DescribeFile
    private let commands: any CommandQueue
    private let log: Logger
    /// Whose turn it was last.
    private var owner = UUID128.zero

    init(jobs: any FileJobs, describe: DescribeFile, commands: any CommandQueue, log: Logger) {
        self.jobs = jobs
        self.describe = describe
        self.commands = commands
        self.log = log
    }

    /// - Returns: files that were looked at.
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
                if message.deletedAt == nil, let file = try describe.describe(message) { try tell(message, file) }
            } catch {
                // What is away comes back; what fails for the file's own fault would fail for ever.
                guard error.retryAfter == nil else { throw error }
                log.warning("a file stays as it is", metadata: ["message": "\(message.id)", "error": "\(error.text)"])
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
