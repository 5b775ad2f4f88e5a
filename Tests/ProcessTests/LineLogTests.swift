import Glibc
import Logging
import Testing

@testable import ChatProcess

@Suite struct LineLogTests {
    private let log = LineLog(program: "program")

    private func line(
        _ message: String, _ values: Logger.Metadata = [:], level: Logger.Level = .info, _ context: LogContext
    ) -> String {
        String(decoding: log.line(level, message, values, context).bytes, as: UTF8.self)
    }

    private func context(_ format: LogStyle.Format, _ priorities: LogStyle.Priorities = .off) -> LogContext {
        LogContext(
            style: LogStyle(format: format, priorities: priorities), worker: "rooms/0", request: "abc",
            thread: pthread_self())
    }

    /// Everything that ends a line somewhere, moves a cursor or turns the direction of writing.
    private static let hostile =
        "a\nb\r\u{0}\u{1b}[2J\u{85}\u{9b}2J\u{2028}\u{2029}\u{202e}\u{2066}\u{7f}\"\\=\u{feff}"

    @Test(arguments: LogStyle.Format.allCases)
    func noTextForgesALine(_ format: LogStyle.Format) {
        let line = line(Self.hostile, ["key": "\(Self.hostile)"], context(format))
        for scalar in line.unicodeScalars {
            #expect(scalar.value >= 0x20 && !(0x7f...0x9f).contains(scalar.value))
            #expect(!["\u{2028}", "\u{2029}", "\u{202e}", "\u{2066}", "\u{feff}"].contains(scalar))
        }
    }

    @Test func jsonKeepsWhatWasSaid() {
        let line = line(
            "\"a\" \\ ä 👍\n\u{1}", ["n": .stringConvertible(7), "list": ["x", .stringConvertible(1.5)]], context(.json))
        #expect(
            line.hasSuffix(
                #","worker":"rooms/0","request":"abc","message":"\"a\" \\ ä 👍\n\u0001","fields":{"list":["x",1.5],"n":7}}"#
            ))
        #expect(line.hasPrefix(#"{"time":"2"#))
    }

    @Test(arguments: LogStyle.Format.allCases)
    func whatIsSecretByItsNameIsHidden(_ format: LogStyle.Format) {
        let values: Logger.Metadata = [
            "accessToken": "hidden-1", "PASSWORD": "hidden-2", "set-cookie": ["hidden-3"],
        ]
        let line = line("message", values, context(format))
        #expect(!line.contains("hidden"))
        #expect(line.contains("***"))
    }

    /// Also inside of what is written as an object.
    @Test func aSecretInsideAnObjectIsHidden() {
        let line = line("message", ["outer": .dictionary(["jwt_secret": "hidden"])], context(.json))
        #expect(line.hasSuffix(#""fields":{"outer":{"jwt_secret":"***"}}}"#))
    }

    @Test func prioritiesAreThoseOfSyslog() {
        let found = [Logger.Level.critical, .error, .warning, .notice, .info, .debug].map { level in
            line("m", level: level, context(.json, .on)).prefix(4)
        }
        #expect(found == ["<2>{", "<3>{", "<4>{", "<5>{", "<6>{", "<7>{"])
        #expect(line("m", [:], context(.text, .off)).hasPrefix("2"))
    }

    @Test func aLineOfItsOwnRequestKeepsIt() {
        #expect(line("m", ["request": "own"], context(.json)).contains(#""request":"own""#))
        #expect(line("m", [:], context(.text)).hasSuffix(" m request=abc"))
    }

    /// A thread that fetches keys or sends traces logs while a stranger's request is in hand.
    @Test func aLineOfAnotherThreadIsOfNoRequest() {
        #expect(line("m", [:], LogContext(request: "abc", thread: pthread_self() &+ 1)).hasSuffix(" m"))
    }
}
