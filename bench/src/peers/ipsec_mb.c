/* intel-ipsec-mb's direct API is a table of function pointers behind macros: what Rust needs of it. */

#include <intel-ipsec-mb.h>
#include <stddef.h>

enum isa { ISA_SSE, ISA_AVX2, ISA_AVX512 };

/* A manager for an instruction set; NULL where the CPU lacks it. */
IMB_MGR *
culvert_ipsec_mb_new(enum isa isa)
{
        IMB_MGR *mgr = alloc_mb_mgr(0);

        if (mgr == NULL)
                return NULL;
        switch (isa) {
        case ISA_SSE:
                init_mb_mgr_sse(mgr);
                break;
        case ISA_AVX2:
                init_mb_mgr_avx2(mgr);
                break;
        case ISA_AVX512:
                init_mb_mgr_avx512(mgr);
                break;
        }
        if (imb_get_errno(mgr) != 0) {
                free_mb_mgr(mgr);
                return NULL;
        }
        return mgr;
}

void
culvert_ipsec_mb_free(IMB_MGR *mgr)
{
        free_mb_mgr(mgr);
}

size_t
culvert_ipsec_mb_key_size(void)
{
        return sizeof(struct gcm_key_data);
}

size_t
culvert_ipsec_mb_context_size(void)
{
        return sizeof(struct gcm_context_data);
}

const char *
culvert_ipsec_mb_version(void)
{
        return imb_get_version_str();
}

/* Expands a key of 16 octets, or of 32 where `long_key` is not 0. */
void
culvert_ipsec_mb_expand(const IMB_MGR *mgr, int long_key, const void *key, struct gcm_key_data *expanded)
{
        if (long_key)
                IMB_AES256_GCM_PRE(mgr, key, expanded);
        else
                IMB_AES128_GCM_PRE(mgr, key, expanded);
}

/* The function that a packet is given to. */
aes_gcm_enc_dec_t
culvert_ipsec_mb_function(const IMB_MGR *mgr, int long_key, int open)
{
        if (long_key)
                return open ? mgr->gcm256_dec : mgr->gcm256_enc;
        return open ? mgr->gcm128_dec : mgr->gcm128_enc;
}
