// The client against a server in memory, whose certificate is made here.
#include "crypto/tls_client.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <fstream>

namespace citadel::crypto {
namespace {

using testing::HasSubstr;

constexpr long day_seconds = 86'400;

struct Free {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
  void operator()(X509* certificate) const { X509_free(certificate); }
  void operator()(SSL_CTX* context) const { SSL_CTX_free(context); }
  void operator()(SSL* ssl) const { SSL_free(ssl); }
};
using Key = std::unique_ptr<EVP_PKEY, Free>;
using Certificate = std::unique_ptr<X509, Free>;

struct Identity {
  Key key{EVP_EC_gen("P-256")};
  Certificate certificate{X509_new()};
};

void extend(X509* certificate, int nid, const char* value) {
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value);
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

// By `issuer`, or by itself where there is none, from yesterday on.
Identity make_identity(const char* name, const char* names, const Identity* issuer, long days = 2) {
  Identity out;
  X509* const certificate = out.certificate.get();
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), issuer == nullptr ? 1 : 2);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -day_seconds);
  X509_gmtime_adj(X509_getm_notAfter(certificate), days * day_seconds);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name), -1, -1, 0);
  X509_set_issuer_name(certificate,
                       X509_get_subject_name(issuer == nullptr ? certificate : issuer->certificate.get()));
  X509_set_pubkey(certificate, out.key.get());
  if (issuer == nullptr) extend(certificate, NID_basic_constraints, "critical,CA:TRUE");
  if (names != nullptr) extend(certificate, NID_subject_alt_name, names);
  X509_sign(certificate, issuer == nullptr ? out.key.get() : issuer->key.get(), EVP_sha256());
  return out;
}

class Server {
 public:
  explicit Server(const Identity& identity, int version_max = TLS1_3_VERSION) {
    SSL_CTX_set_min_proto_version(context_.get(), TLS1_VERSION);
    SSL_CTX_set_security_level(context_.get(), 0);
    SSL_CTX_set_max_proto_version(context_.get(), version_max);
    SSL_CTX_use_certificate(context_.get(), identity.certificate.get());
    SSL_CTX_use_PrivateKey(context_.get(), identity.key.get());
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_bio(ssl_.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_accept_state(ssl_.get());
  }
  // Carries bytes to and fro until the client is done or has failed.
  Result<void> meet(TlsClient& client) {
    for (int i = 0; i < 10; ++i) {
      const auto done = client.handshake();
      put(client.take());
      SSL_do_handshake(ssl_.get());
      client.put(take());
      if (!done) return std::unexpected(done.error());
      if (*done) return {};
    }
    return fail(Code::internal, "it does not end");
  }
  void put(const std::string& bytes) {
    if (!bytes.empty()) BIO_write(SSL_get_rbio(ssl_.get()), bytes.data(), static_cast<int>(bytes.size()));
  }
  std::string take() {
    BIO* const out = SSL_get_wbio(ssl_.get());
    std::string bytes(BIO_ctrl_pending(out), '\0');
    if (!bytes.empty()) BIO_read(out, bytes.data(), static_cast<int>(bytes.size()));
    return bytes;
  }
  SSL* ssl() { return ssl_.get(); }

 private:
  std::unique_ptr<SSL_CTX, Free> context_{SSL_CTX_new(TLS_server_method())};
  std::unique_ptr<SSL, Free> ssl_;
};

class TlsClientTest : public testing::Test {
 protected:
  TlsClientTest() {
    BIO* const out = BIO_new_file(ca_file_.c_str(), "w");
    PEM_write_bio_X509(out, ca_.certificate.get());
    BIO_free(out);
  }
  ~TlsClientTest() override { std::filesystem::remove(ca_file_); }

  TlsClient client(const std::string& host) const {
    return TlsClient::make(TlsTrust::load(ca_file_).value(), host).value();
  }
  Result<void> meet(const Identity& identity, const std::string& host) const {
    Server server(identity);
    auto one = client(host);
    return server.meet(one);
  }

  std::filesystem::path ca_file_ = testing::TempDir() + "tls_client_test.pem";
  Identity ca_ = make_identity("ours", nullptr, nullptr);
  Identity good_ = make_identity("good", "DNS:witness.example,IP:127.0.0.1,IP:::1", &ca_);
};

TEST_F(TlsClientTest, BytesGoBothWaysAndTheEndIsTold) {
  Server server(good_);
  auto one = client("witness.example");
  ASSERT_TRUE(server.meet(one));
  EXPECT_STREQ(SSL_get_servername(server.ssl(), TLSEXT_NAMETYPE_host_name), "witness.example");
  const std::string question(3 << 20, 'q');
  ASSERT_TRUE(one.write(question));
  server.put(one.take());
  std::string got(question.size(), '\0');
  for (std::size_t at = 0; at < got.size();) {
    const int size = SSL_read(server.ssl(), got.data() + at, static_cast<int>(got.size() - at));
    ASSERT_GT(size, 0);
    at += static_cast<std::size_t>(size);
  }
  EXPECT_EQ(got, question);
  char answer[64];
  EXPECT_EQ(one.read(answer)->got, TlsClient::Got::need_more);
  SSL_write(server.ssl(), "answer", 6);
  const auto bytes = server.take();
  one.put(bytes.substr(0, 5));
  EXPECT_EQ(one.read(answer)->got, TlsClient::Got::need_more);
  one.put(bytes.substr(5));
  const auto read = one.read(answer);
  EXPECT_EQ(std::string_view(answer, read->size), "answer");
  SSL_shutdown(server.ssl());
  one.put(server.take());
  EXPECT_EQ(one.read(answer)->got, TlsClient::Got::ended);
}

TEST_F(TlsClientTest, ACertificateIsForItsNamesOnly) {
  for (const auto* host : {"witness.example", "127.0.0.1", "::1"}) EXPECT_TRUE(meet(good_, host)) << host;
  for (const auto* host : {"other.example", "127.0.0.2", "example", "a.witness.example"}) {
    const auto refused = meet(good_, host);
    ASSERT_FALSE(refused) << host;
    EXPECT_EQ(refused.error().code, Code::permission_denied);
    EXPECT_THAT(refused.error().message, HasSubstr("mismatch; use a name that stands in it"));
  }
}

TEST_F(TlsClientTest, AnotherIssuerAndATimeThatIsOverAreRefused) {
  const auto theirs = make_identity("theirs", nullptr, nullptr);
  const std::pair<Identity, const char*> bad[] = {
      {make_identity("a", "DNS:witness.example", &theirs), "name its issuer in the file of trusted CAs"},
      {make_identity("b", "DNS:witness.example", nullptr), "name its issuer in the file of trusted CAs"},
      {make_identity("c", "DNS:witness.example", &ca_, 0), "certificate has expired; have it renewed"}};
  for (const auto& [identity, said] : bad) {
    const auto refused = meet(identity, "witness.example");
    ASSERT_FALSE(refused) << said;
    EXPECT_EQ(refused.error().code, Code::permission_denied);
    EXPECT_THAT(refused.error().message, HasSubstr(said));
  }
}

TEST_F(TlsClientTest, OlderThanTls12IsRefused) {
  for (const auto& [version, good] : {std::pair(TLS1_1_VERSION, false), std::pair(TLS1_2_VERSION, true)}) {
    Server server(good_, version);
    auto one = client("witness.example");
    const auto met = server.meet(one);
    EXPECT_EQ(met.has_value(), good) << version;
    if (!met) EXPECT_EQ(met.error().code, Code::connection_lost);
  }
}

TEST_F(TlsClientTest, WhatIsNoTlsIsRefused) {
  auto one = client("witness.example");
  EXPECT_FALSE(one.handshake().value());
  one.put("HTTP/1.1 400 Bad Request\r\n\r\n");
  const auto refused = one.handshake();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::connection_lost);
  EXPECT_THAT(refused.error().message, HasSubstr("the TLS handshake"));
}

TEST_F(TlsClientTest, ChangedBytesAreRefused) {
  Server server(good_);
  auto one = client("witness.example");
  ASSERT_TRUE(server.meet(one));
  SSL_write(server.ssl(), "answer", 6);
  auto bytes = server.take();
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  one.put(bytes);
  char answer[64];
  const auto read = one.read(answer);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, Code::connection_lost);
}

TEST_F(TlsClientTest, AFileWithoutCertificatesIsNamed) {
  std::ofstream(ca_file_) << "nothing\n";
  for (const auto& file : {ca_file_, std::filesystem::path("/nonexistent/ca.pem")}) {
    const auto trust = TlsTrust::load(file);
    ASSERT_FALSE(trust);
    EXPECT_EQ(trust.error().code, Code::invalid_argument);
    EXPECT_THAT(trust.error().message, HasSubstr(file.string()));
  }
  EXPECT_TRUE(TlsTrust::load({}));
}

}  // namespace
}  // namespace citadel::crypto
