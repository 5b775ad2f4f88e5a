extension TLSFiles {
    init(_ values: inout SettingsReader) {
        self.init(
            authorities: values.optional("TLS_CA_FILE"), certificate: values.optional("TLS_CERT_FILE"),
            key: values.optional("TLS_KEY_FILE"))
        if (certificate == nil) != (key == nil) {
            values.problem("TLS_CERT_FILE and TLS_KEY_FILE belong together: only one of them is set")
        }
    }
}
