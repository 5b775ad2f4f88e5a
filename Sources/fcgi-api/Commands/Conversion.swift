import ArgumentParser
import ChatCore
import ChatProcess
import Glibc

/// Another service's export, as an import takes it.
struct ConversionOptions: ParsableArguments {
    enum Source: String, ExpressibleByArgument, CaseIterable { case slack, mattermost }

    @Option(help: "Another service's export: slack or mattermost.") var from: Source?
    @Option(help: "With --from: which of a user's names there is your id of the user: id, name or email.")
    var userID: UserKey?
    @Option(
        name: .customLong("files-url"),
        help: "With --from mattermost: the URL of the folder with the export's attachments, ending in /.")
    var filesURL = ""
    @Flag(name: .customLong("print"), help: "With --from: print the lines and store nothing.") var printLines = false
    /// Bytes of a line of Mattermost: a post with all of its replies.
    private static let line = 64 * 1024 * 1024

    func validate() throws {
        guard from != nil || !printLines && userID == nil else {
            throw ValidationError("--print and --user-id go with --from")
        }
        guard from == .mattermost || filesURL.isEmpty else {
            throw ValidationError("--files-url goes with --from mattermost")
        }
        guard filesURL.isEmpty || WebAddress.isLink(filesURL) && filesURL.utf8.last == UInt8(ascii: "/") else {
            throw ValidationError("--files-url is an http or https URL that ends in /")
        }
        guard from != .mattermost || userID != .id else {
            throw ValidationError("an export of Mattermost has no ids of users: --user-id takes name or email")
        }
    }

    /// Calls `emit` with lines; returns what was left out, a sentence for each reason.
    func convert(_ file: String, _ emit: @escaping ([UInt8], ImportRecord) throws -> Void) throws -> [String] {
        let out = ConvertedLines(now: systemClock(), emit)
        switch from {
        case .slack:
            var slack = SlackConverter(file, userID ?? .id, out)
            try slack.run()
        case .mattermost, nil:
            var reader = LineReader(try InputFile(file), limit: Self.line)
            var (converter, number) = (MattermostConverter(userID ?? .name, filesURL: filesURL, out), 0)
            while let line = try reader.next() {
                number += 1
                try converter.take(line, number)
            }
            try converter.finish()
        }
        return out.leftOut
    }

    /// Lines to the standard output, what was left out to the other one.
    func show(_ file: String) throws {
        signal(SIGPIPE, SIG_IGN)
        let out = ExportOutput(STDOUT_FILENO, folder: nil)
        let leftOut = try convert(file) { line, _ in try out.line(line) }
        try out.finish()
        try Self.tell(leftOut)
    }

    static func tell(_ leftOut: [String]) throws {
        for text in leftOut { try StandardFiles.write((text + "\n").utf8, to: STDERR_FILENO) }
    }
}

extension UserKey: ExpressibleByArgument {}
