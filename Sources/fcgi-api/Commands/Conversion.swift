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
    func convert(_ file: String, _ emit: @escaping ([UInt8]) throws -> Void) throws -> [String] {
        let out = ConvertedLines(emit)
        switch from {
        case .slack:
            var slack = SlackConverter(file, userID ?? .id, out)
            try slack.run()
        case .mattermost, nil:
            let descriptor = try TransferCommands.open(file)
            defer { if descriptor != STDIN_FILENO { close(descriptor) } }
            var reader = LineReader(descriptor, limit: Self.line)
            var (converter, number) = (MattermostConverter(userID ?? .name, filesURL: filesURL, out), Int64(0))
            while let line = try reader.next() {
                number += 1
                try converter.take(line, number)
            }
            try converter.finish()
        }
        return out.leftOut.sorted { $0.key < $1.key }.map { "left out: \($0.value) × \($0.key)" }
    }

    /// Lines to the standard output, what was left out to the other one.
    func show(_ file: String) throws {
        signal(SIGPIPE, SIG_IGN)
        let out = ExportOutput(STDOUT_FILENO, folder: "/var/tmp")
        let leftOut = try convert(file, out.line)
        try out.finish()
        for text in leftOut {
            let line = Array((text + "\n").utf8)
            _ = write(STDERR_FILENO, line, line.count)
        }
    }
}

extension UserKey: ExpressibleByArgument {}
