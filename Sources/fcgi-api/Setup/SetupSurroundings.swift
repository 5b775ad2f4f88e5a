import Glibc

/// The facts that setup learns from outside of its command line.
struct SetupSurroundings {
    /// Of the environment.
    var variable: (String) -> String?
    var hasTerminal: Bool
    /// Shows a question and returns the line that is typed; nil: the terminal is closed.
    var ask: (String) -> String?
    /// nginx's group, when this user may give sockets to it.
    var groupOfNginx: String?

    static let debianGroup = "www-data"

    static var real: SetupSurroundings {
        SetupSurroundings(
            variable: { getenv($0).map { String(cString: $0) } },
            hasTerminal: isatty(0) == 1 && isatty(1) == 1,
            ask: { question in
                print(question, terminator: "")
                fflush(nil)
                return readLine()
            },
            groupOfNginx: getuid() == 0 && getgrnam(debianGroup) != nil ? debianGroup : nil)
    }
}
